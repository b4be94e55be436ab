"""What tenants have asked for of late: buckets and leases, the same for every front door.

None of it is a record. It is neither written to the append-only file nor sent to replicas: a
restart begins with empty buckets, and counting a request costs no disk a thing. Only the factor
that an operator set is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from serve.domain.ids import Mode
from serve.domain.quota import LEASE_MS, Asked, Cause, Rule, Taken
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.scripts import Script, run

KEPT_MS = 60_000  # beyond what is needed: a key that expires is a write to the append-only file

# KEYS: 1 a bucket, 2 the tenant's factor, 3 its leases. ARGV: 1 µs that a request takes at factor
# 1, 2 µs that the bucket holds, 3 the request's weight, 4 ms that the bucket is kept for nothing;
# where it takes a lease: 5 its name, 6 how many there may be, 7 ms that it runs.
# A request that is refused changes nothing. Nor is a store that takes no writes now a reason to
# refuse one: what has to be written fails by itself. Returns {cause or "", µs that the bucket is
# ahead of the clock, µs that a request takes}.
TAKE = Script(
    "quota",
    """
redis.set_repl(redis.REPL_NONE)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local factor = tonumber(redis.call('GET', KEYS[2]) or 1)
local step = math.max(1, math.ceil(ARGV[1] / factor))
local ahead = math.max(0, tonumber(redis.call('GET', KEYS[1]) or 0) - now)
local wanted = ahead + step * ARGV[3]
if wanted > math.max(step, tonumber(ARGV[2])) then return {'quota', ahead, step} end
if ARGV[5] then
  local now_ms, lease_ms = math.floor(now / 1000), tonumber(ARGV[7])
  redis.pcall('ZREMRANGEBYSCORE', KEYS[3], '-inf', now_ms)
  if redis.call('ZCARD', KEYS[3]) >= math.max(1, ARGV[6] * factor) then
    return {'inflight', ahead, step}
  end
  redis.pcall('ZADD', KEYS[3], now_ms + lease_ms, ARGV[5])
  redis.pcall('PEXPIRE', KEYS[3], lease_ms + ARGV[4])
end
local kept = math.ceil(wanted / 1000) + ARGV[4]
redis.pcall('SET', KEYS[1], string.format('%.0f', now + wanted), 'PX', string.format('%.0f', kept))
return {'', wanted, step}
""",
)

# KEYS: 1 a tenant's leases. ARGV: names of those that have ended. Returns nothing.
GIVE_BACK = Script(
    "give_back",
    """
redis.set_repl(redis.REPL_NONE)
for _, lease in ipairs(ARGV) do redis.call('ZREM', KEYS[1], lease) end
""",
)


@dataclass(frozen=True, slots=True)
class RedisQuotas:
    """The `Quotas` port."""

    link: Redis

    async def take(self, asked: Asked, rule: Rule) -> tuple[Taken, int]:
        """What becomes of a request, and the µs that one takes at its tenant's pace."""
        tenant_id, mode, bucket = asked.tenant_id, asked.mode, rule.bucket
        keys = [names.quota(tenant_id, mode, asked.quota), names.quota_factor(tenant_id)]
        arguments: list[str | int] = [bucket.step_us, bucket.burst_us, asked.cost, KEPT_MS]
        if asked.lease:
            keys.append(names.quota_leases(tenant_id, mode))
            arguments += [asked.lease, rule.inflight_max, LEASE_MS]
        with reaching_redis():
            (cause, ahead_us, step_us), _ = await run(self.link, TAKE, keys, arguments)
        refused = Cause(cause.decode()) if cause else None
        return Taken(ahead_us, refused), step_us

    async def give_back(self, tenant_id: str, mode: Mode, leases: Sequence[str]) -> None:
        """End leases before their time."""
        with reaching_redis():
            await run(self.link, GIVE_BACK, [names.quota_leases(tenant_id, mode)], leases)

    async def factor(self, tenant_id: str) -> float:
        """How many times the settings this tenant may ask for."""
        with reaching_redis():
            found = await self.link.get(names.quota_factor(tenant_id))
        return 1.0 if found is None else float(found)

    async def put_factor(self, tenant_id: str, factor: float) -> None:
        """Let it ask for so many times the settings, from the next request on."""
        with reaching_redis():
            await self.link.set(names.quota_factor(tenant_id), repr(factor))
