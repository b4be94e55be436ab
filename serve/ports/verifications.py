"""The port to verifications: records, and views of sessions."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from serve.domain.ids import Mode, Subject
from serve.domain.verifications.verification import Verification
from serve.ports.records import Page


class Verifications(Protocol):
    """Every verification of a tenant in one mode, those of its sessions among them, as time has
    left them. Of another tenant, or of the other mode, nothing is found.
    """

    async def one(
        self, tenant_id: str, mode: Mode, verification_id: str
    ) -> tuple[Subject, Verification] | None:
        """One, and whose it is."""
        ...

    async def named(
        self, tenant_id: str, mode: Mode, verification_ids: Sequence[str]
    ) -> Mapping[str, Verification]:
        """Those of the ids that are there, by id."""
        ...

    async def page(self, tenant_id: str, mode: Mode, cursor: str, limit: int) -> Page[Verification]:
        """The tenant's, newest first. Raises `cursor_invalid`."""
        ...

    async def identified(self, token: str) -> Subject | None:
        """Whose reusable identity token this is, or was until lately. Raises `not_found` for what
        is no such token.
        """
        ...
