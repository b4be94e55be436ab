"""Expectations are counted, told as they come, and a failed one says what came instead."""

from serve.demo.notebook import Kind, Line, Notebook


def test_every_line_is_told_and_expectations_are_counted() -> None:
    """Two met and one failed leave those counts, and four lines in order."""
    lines: list[Line] = []
    notes = Notebook(lines.append)
    notes.step("a scene")
    assert notes.expect("one is one", 1, 1)
    assert not notes.expect("one is two", 1, 2)
    assert notes.expect("a list", [1], [1])
    assert (notes.met, notes.failed) == (2, 1)
    assert [line.kind for line in lines] == [Kind.STEP, Kind.MET, Kind.FAILED, Kind.MET]
    assert lines[2].detail == "1, not 2"
