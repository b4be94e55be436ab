"""Requests under a key of their sender's: claimed by one at a time, answered once.

A kept answer tells of a person, and may hold a session's token. It is sealed under the data key
of the customer it tells of, and only that customer's name is kept beside it: when the customer
is erased nobody can open it any more. An answer that tells of no customer is sealed under a key
of its own, which the current epoch wraps.
"""

from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from serve.domain.idempotency import Answer, Keyed, loaded
from serve.domain.operation import Operation
from serve.errors import Code, ServeError
from serve.ports import Claim
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.scripts import Argument, Script, run
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import new_key, seal, unseal

LEASE_MS = 30_000
"""Longer than any request takes; who is slower does nothing twice, but answers for itself."""

# KEYS: 1 a record. ARGV: 1 fingerprint, 2 fence, 3 ms of lease, 4 ms to keep the record.
# Returns {'first', now in ms} or {'again', ms of the first claim} when the claim is ours,
# {'mismatch'}, {'running'}, or {'done', locator, wrapped key, sealed answer}. A claim sent twice
# is one claim.
CLAIM_KEY = Script(
    "idempotency_claim",
    """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 'p', 's', 'c', 't', 'u', 'k', 'd')
local print, state, fence, lease = found[1], found[2], found[3], found[4]
if print and print ~= ARGV[1] then return {'mismatch'} end
if state == 'done' then return {'done', found[5], found[6], found[7]} end
if state == 'running' and fence ~= ARGV[2] and tonumber(lease) > now then return {'running'} end
redis.call('HSET', KEYS[1], 'p', ARGV[1], 's', 'running', 'c', ARGV[2], 't', now + ARGV[3])
redis.call('HSETNX', KEYS[1], 'b', now)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {print and 'again' or 'first', redis.call('HGET', KEYS[1], 'b')}
""",
)

# KEYS: 1 a record. ARGV: 1 fence, 2 ms to keep the record, 3 locator or "", 4 wrapped key or "",
# 5 sealed answer. Returns 1, or 0 when the claim was lost.
FINISH_KEY = Script(
    "idempotency_finish",
    """
if redis.call('HGET', KEYS[1], 'c') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 's', 'done', 'u', ARGV[3], 'k', ARGV[4], 'd', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
""",
)

# KEYS: 1 a record. ARGV: 1 fence. Returns 1, or 0 when the claim was lost or is answered.
RELEASE_KEY = Script(
    "idempotency_release",
    """
local found = redis.call('HMGET', KEYS[1], 'c', 's')
if found[1] ~= ARGV[1] or found[2] == 'done' then return 0 end
redis.call('HSET', KEYS[1], 's', 'free')
return 1
""",
)


@dataclass(frozen=True, slots=True)
class RedisIdempotency:
    """The `Idempotency` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def claim(self, keyed: Keyed, fence: str) -> Claim | Answer:
        """A claim on the request, or its answer. Raises as the port does."""
        state, *kept = await self._run(
            CLAIM_KEY, keyed.digest, keyed.fingerprint, fence, LEASE_MS, names.IDEMPOTENCY_KEPT_MS
        )
        if state == b"mismatch":
            raise ServeError(Code.IDEMPOTENCY_MISMATCH, "its path, query or body was another")
        if state == b"running":
            raise ServeError(Code.IDEMPOTENCY_IN_PROGRESS, "it has no answer yet")
        if state == b"done":
            return await self._opened(keyed.digest, *kept)
        return Claim(keyed.digest, fence, is_first=state == b"first", began_ms=int(kept[0]))

    async def finish(self, claim: Claim, answer: Answer, op: Operation) -> bool:
        """Keep the answer; False when somebody else has claimed the request since."""
        label = _label(claim.digest)
        locator, wrapped = "", b""
        if op.subject is not None and op.data_key is not None:
            locator, data_key = names.locator(op.subject), op.data_key
        else:
            data_key = new_key()
            wrapped = self.keyring.wrap(data_key, label)
        sealed = seal(data_key, answer.dump(), label)
        kept_ms = names.IDEMPOTENCY_KEPT_MS
        return bool(
            await self._run(
                FINISH_KEY, claim.digest, claim.fence, kept_ms, locator, wrapped, sealed
            )
        )

    async def release(self, claim: Claim) -> bool:
        """Give a claim back; False when it is lost."""
        return bool(await self._run(RELEASE_KEY, claim.digest, claim.fence))

    async def is_outlived(self, op: Operation) -> bool:
        """Whether the customer was erased since `op` was first asked for."""
        if op.subject is None or op.began_ms is None:
            return False
        with reaching_redis():
            found = await self.link.get(names.erased(op.subject))
        return found is not None and op.began_ms <= int(found)

    async def _run(self, script: Script, digest: str, *arguments: Argument) -> Any:  # noqa: ANN401
        with reaching_redis():
            found, _ = await run(self.link, script, [names.idempotency(digest)], arguments)
        return found

    async def _opened(self, digest: str, locator: bytes, wrapped: bytes, sealed: bytes) -> Answer:
        """A kept answer. Raises `answer_erased` where its key is gone, or the customer has another
        by now.
        """
        label = named = _label(digest)
        found: Any = wrapped
        if locator:
            subject = names.located(locator.decode())
            named = subject.key
            with reaching_redis():
                found = await self.link.hget(names.customer(subject), "k")
        if not found:
            raise _erased()
        try:
            return loaded(unseal(self.keyring.unwrap(found, named), sealed, label))
        except ServeError as error:
            if error.code is Code.KEYS_MISMATCH:
                raise _erased() from error
            raise


def _label(digest: str) -> str:
    return f"idempotency|{digest}"


def _erased() -> ServeError:
    return ServeError(Code.ANSWER_ERASED, "the request is not carried out again")
