"""Erasure receipts: four dated steps, each done once."""

from serve.domain.change import Snapshot
from serve.domain.customer import Reference
from serve.domain.erasure import ErasureReceipt, ErasureStep, receipt_of, with_step
from serve.domain.ids import Mode, Subject
from tests.helpers.records import NOW_MS, TENANT, a_customer

FACE = Reference(face_id="fac_1", model_id="m", enrolled_at_ms=0, has_chip=False)
SNAPSHOT = Snapshot(
    Subject(TENANT, Mode.LIVE, "0" * 32), 3, NOW_MS, a_customer(references=(FACE,)), b"key", 5
)
WEEK_MS = 7 * 24 * 3_600_000
RECEIPT = receipt_of("era_1", SNAPSHOT, 2, NOW_MS + WEEK_MS)


def due(receipt: ErasureReceipt) -> dict[ErasureStep, tuple[int, bool]]:
    return {
        step.step: (step.due_at_ms - NOW_MS, step.done_at_ms is not None) for step in receipt.steps
    }


def test_search_and_store_are_done_at_once() -> None:
    """The log follows within an hour, the backups with their epoch key."""
    assert due(RECEIPT) == {
        ErasureStep.SEARCH: (0, True),
        ErasureStep.STORE: (0, True),
        ErasureStep.LOG: (3_600_000, False),
        ErasureStep.BACKUPS: (WEEK_MS, False),
    }
    assert list(due(RECEIPT)) == list(ErasureStep)
    assert RECEIPT.due_ms == NOW_MS + 3_600_000


def test_a_receipt_names_nobody() -> None:
    """It says how much was erased, and for which tenant, but not whose it was."""
    assert (RECEIPT.faces, RECEIPT.sessions, RECEIPT.epoch) == (1, 2, 5)
    assert "alice" not in RECEIPT.model_dump_json()


def test_a_step_is_done_once() -> None:
    """The first time counts, and a receipt is complete when all four are done."""
    once = with_step(RECEIPT, ErasureStep.LOG, NOW_MS + 5)
    assert with_step(once, ErasureStep.LOG, NOW_MS + 9) == once
    assert not once.is_complete
    assert once.due_ms == NOW_MS + WEEK_MS
    done = with_step(once, ErasureStep.BACKUPS, NOW_MS + WEEK_MS)
    assert done.is_complete
    assert done.due_ms is None


def test_a_key_that_is_gone_already_is_due_now() -> None:
    """No step is due before the erasure was asked for."""
    assert due(receipt_of("era_1", SNAPSHOT, 0, 0))[ErasureStep.BACKUPS] == (0, False)
