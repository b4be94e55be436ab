"""Errors cross processes whole, and say their code first."""

import pickle

from pipeline.errors import Code, CodedError, Failure, PipelineError
from serve.errors import SENTENCES, ServeError
from serve.errors import Code as ServeCode


def test_errors_survive_pickling() -> None:
    """An error raised in another process arrives with its class, code and detail."""
    for error in (
        PipelineError(Code.DEVICE_ERROR, "out of memory"),
        ServeError(ServeCode.SETTING_UNKNOWN, "models.cash_dir"),
    ):
        arrived = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
        assert type(arrived) is type(error)
        assert (arrived.code, arrived.detail) == (error.code, error.detail)
        assert str(arrived) == f"{error.code}: {error.detail}"


def test_failure_is_its_error_as_a_value() -> None:
    """The value that stands for an error in a batch compares by code and detail."""
    error = PipelineError(Code.IMAGE_CORRUPT, "ends early")
    assert Failure.of(error) == Failure(Code.IMAGE_CORRUPT, "ends early")


def test_every_code_has_a_sentence_of_its_own() -> None:
    """No code of any package is without its sentence, and no two share one."""
    assert set(SENTENCES) == {*Code, *ServeCode}
    assert len(set(SENTENCES.values())) == len(SENTENCES)
    assert issubclass(PipelineError, CodedError)
