"""The Lua scripts: every change of the store is one call of one of these.

Redis runs a script to its end before it looks at anybody else, but does not undo what an erring
script has written. So each checks everything first and writes afterwards.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from serve.errors import Code, ServeError
from serve.observe import metrics
from serve.store.link import ask_together

Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """A script by its name, for the metrics, and its text; Redis knows it by its SHA-1."""

    name: str
    text: str
    sha1: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha1", digest)


async def run(
    link: Redis,
    script: Script,
    keys: Sequence[str],
    arguments: Sequence[Argument],
    replicas: tuple[int, int] = (0, 0),
) -> tuple[Any, int]:
    """What the script returns, and how many replicas hold it.

    `replicas` is how many to wait for and for how many ms; (0, 0) waits for none. The wait goes
    out on the same connection right behind the script, or it would speak of other writes.
    """
    call = ("EVALSHA", script.sha1, len(keys), *keys, *arguments)
    with metrics.timed_store(script.name):
        try:
            return await _call(link, call, replicas)
        except NoScriptError:
            await link.script_load(script.text)
            return await _call(link, call, replicas)


async def run_beside(
    link: Redis,
    script: Script,
    keys: Sequence[str],
    arguments: Sequence[Argument],
    beside: Sequence[Argument],
) -> tuple[Any, Any]:
    """What the script returns, and what another command does, in the same round trip."""
    with metrics.timed_store(script.name):
        found, other = await ask_together(
            link, ("EVALSHA", script.sha1, len(keys), *keys, *arguments), beside
        )
    if isinstance(other, Exception):
        raise other
    if isinstance(found, NoScriptError):
        found, _ = await run(link, script, keys, arguments)
    elif isinstance(found, Exception):
        raise found
    return found, other


async def run_each(
    link: Redis,
    script: Script,
    calls: Sequence[tuple[Sequence[str], Sequence[Argument]]],
    replicas: tuple[int, int] = (0, 0),
) -> list[Any]:
    """What the script returns for each pair of keys and arguments, all in one round trip.

    Raises `durability_unavailable` when too few replicas hold what it did, and what it saw.
    """
    with metrics.timed_store(script.name):
        async with link.pipeline(transaction=False) as pipe:
            for keys, arguments in calls:
                pipe.execute_command("EVALSHA", script.sha1, len(keys), *keys, *arguments)
            if replicas[0]:
                pipe.execute_command("WAIT", *replicas)
            answers = await pipe.execute(raise_on_error=False)
    if replicas[0]:
        reached = answers.pop()
        check_reached(0 if isinstance(reached, Exception) else int(reached), replicas)
    for place, answer in enumerate(answers):
        if isinstance(answer, NoScriptError):
            answers[place], _ = await run(link, script, *calls[place])
        elif isinstance(answer, Exception):
            raise answer
    return answers


def check_reached(reached: int, replicas: tuple[int, int]) -> None:
    """Raises `durability_unavailable` when fewer replicas hold it than must."""
    if reached < replicas[0]:
        raise ServeError(
            Code.DURABILITY_UNAVAILABLE, f"{reached} of {replicas[0]} replicas", retry_after_s=1
        )


async def write_together(
    link: Redis, replicas: tuple[int, int], *commands: Sequence[Argument]
) -> None:
    """Carry `commands` out in one transaction, and wait until enough replicas hold it.

    Raises `durability_unavailable`.
    """
    wait = [("WAIT", *replicas)] if replicas[0] else []
    answers = await ask_together(link, ("MULTI",), *commands, ("EXEC",), *wait)
    done = answers[len(commands) + 1]
    for answer in (*answers, *(done if isinstance(done, list) else ())):
        if isinstance(answer, Exception):
            raise answer
    if wait:
        check_reached(int(answers[-1]), replicas)


async def _call(
    link: Redis, call: Sequence[Argument], replicas: tuple[int, int]
) -> tuple[Any, int]:
    count, wait_ms = replicas
    if count == 0:
        return await cast("Any", link).execute_command(*call), 0
    async with link.pipeline(transaction=False) as pipe:
        pipe.execute_command(*call)
        pipe.execute_command("WAIT", count, wait_ms)
        answer, reached = await pipe.execute()
    return answer, int(reached)


# KEYS: 1 a customer, 2 a session, 3 an operation's record, 4 the log of faces. ARGV: 1 whether the
# templates are wanted, "1" or "".
# Returns {time, the customer's fields, the session's owner and document, the answer, {face's field
# and entry, …}}.
READ = Script(
    "read",
    """
local customer = redis.call('HGETALL', KEYS[1])
local entries = {}
for i = 1, ARGV[1] == '1' and #customer or 0, 2 do
  if string.sub(customer[i], 1, 2) == 'f:' then
    local rows = redis.call('XRANGE', KEYS[4], customer[i + 1], customer[i + 1])
    if rows[1] then
      entries[#entries + 1] = customer[i]
      entries[#entries + 1] = rows[1][2]
    end
  end
end
return {redis.call('TIME'), customer, redis.call('HMGET', KEYS[2], 'u', 'd'),
  redis.call('GET', KEYS[3]), entries}
""",
)

# KEYS: 1 the operation's record, 2 the customer, 3… the keys that commands name by position.
# ARGV: 1 ms the operation is remembered, 2 version expected (0: no such customer), 3 version to
#       set ("" for none: the customer is going), 4 answer,
#       5… commands: name, position of key, number of arguments, arguments.
# LOG appends to the stream and notes the entry's id, under the face in the customer's hash (unless
# it is '') and as the stream's tail; QUOTA
# adds to a counter that must stay within its limit, if the key that it names exists; PUBLISH tells
# a channel that a queue grew.
# Returns {"done", time} | {"repeat", answer} | {"conflict"} | {"full"}.
COMMIT = Script(
    "commit",
    """
local done = redis.call('GET', KEYS[1])
if done then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])  -- a write, so that a WAIT behind it covers the first
  return {'repeat', done}
end
if (redis.call('HGET', KEYS[2], 'v') or '0') ~= ARGV[2] then return {'conflict'} end

local kinds = {HSET='hash', HINCRBY='hash', ZADD='zset', ZREM='zset', ZREMRANGEBYSCORE='zset',
  SET='string', QUOTA='string', LOG='stream', XADD='stream', XDEL='stream',
  UNLINK='any', PEXPIREAT='any', PUBLISH='any'}
local commands, types, at = {}, {}, 5
while at <= #ARGV do
  local name, key, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], tonumber(ARGV[at + 2])
  local arguments = {}
  for i = 1, count do arguments[i] = ARGV[at + 2 + i] end
  at = at + 3 + count
  local kind = kinds[name]
  if not kind or not key then return redis.error_reply('LIMEN unknown command ' .. name) end
  local found = types[key] or redis.call('TYPE', key)['ok']
  types[key] = found
  if kind ~= 'any' and name ~= 'SET' and found ~= 'none' and found ~= kind then
    return redis.error_reply('WRONGTYPE ' .. name .. ' on a ' .. found)
  end
  if name == 'QUOTA' and arguments[3] and redis.call('EXISTS', arguments[3]) == 0 then
    name = 'NOTHING'
  elseif name == 'QUOTA' then
    local total = tonumber(redis.call('GET', key) or '0') + tonumber(arguments[1])
    if total > tonumber(arguments[2]) then return {'full'} end
  end
  commands[#commands + 1] = {name, key, arguments}
end

for _, command in ipairs(commands) do
  local name, key, arguments = command[1], command[2], command[3]
  if name == 'LOG' then
    local entry = redis.call('XADD', key, '*', unpack(arguments, 2))
    if arguments[1] ~= '' then redis.call('HSET', KEYS[2], 'f:' .. arguments[1], entry) end
    redis.call('SET', key .. ':tail', entry)
  elseif name == 'QUOTA' then
    if redis.call('INCRBY', key, arguments[1]) <= 0 then redis.call('DEL', key) end
  elseif name == 'NOTHING' then
    -- what it would have given back was given back before
  elseif name == 'PUBLISH' then
    redis.pcall(name, unpack(arguments))  -- whoever polls finds it without
  else
    redis.call(name, key, unpack(arguments))
  end
end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], 'v', ARGV[3]) end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[1])
return {'done', redis.call('TIME')}
""",
)

# KEYS: 1 a customer, 2 a STRING that is written so that a WAIT behind it covers what came before.
# ARGV: 1 version expected (0: no such customer), 2 ms the STRING stays. Returns 1, or 0 when the
# customer has another version.
CONFIRM = Script(
    "confirm",
    """
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], '', 'PX', ARGV[2])
return 1
""",
)

# KEYS: 1 a ZSET by time due. ARGV: 1 how many, 2 ms of lease, 3 prefix of the members' keys,
# 4 prefix of the customers' keys, 5… names of the record's fields that are wanted.
# Moves each claimed member to the end of its lease; counts the claim in its `fence`. A member
# whose record has gone is dropped. Returns now in ms and {member, fence, customer's wrapped data
# key, owner, the wanted fields} of each.
CLAIM = Script(
    "claim",
    """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local claimed = {}
for _, member in ipairs(due) do
  local record = ARGV[3] .. member
  local fields = redis.call('HMGET', record, 'u', unpack(ARGV, 5))
  if fields[1] then
    redis.call('ZADD', KEYS[1], now + ARGV[2], member)
    local fence = redis.call('HINCRBY', record, 'fence', 1)
    local key = redis.call('HGET', ARGV[4] .. string.match(fields[1], '[^:]*$'), 'k')
    claimed[#claimed + 1] = {member, fence, key, unpack(fields)}
  else
    redis.call('ZREM', KEYS[1], member)
  end
end
return {now, claimed}
""",
)

# KEYS: 1 a record, 2 its queue. ARGV: 1 fence, 2 member, 3 next attempt in ms or "" for none,
# 4 the record's sealed document or "" to leave it. Returns 1, or 0 when the claim was lost.
SETTLE = Script(
    "settle",
    """
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'd', ARGV[4]) end
if ARGV[3] == '' then redis.call('ZREM', KEYS[2], ARGV[2])
else redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2]) end
return 1
""",
)

# KEYS: 1 a stream of the audit trail. ARGV: 1 ms for which entries are kept, 2… field, value, …
APPEND = Script(
    "append",
    """
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
""",
)

# KEYS: 1 a STRING, 2 an index, 3 the operation's record, 4 a stream of the audit trail, or none.
# ARGV: 1 its `updated_at_ms` as read, or "" if it must not exist; 2 the new document; 3, 4 its
# score in the index and its name there; 5 ms the operation is remembered, or "" for not at all;
# 6 ms for which audit entries are kept, 7… what XADD takes.
# Returns {'done'}, {'repeat', what the operation wrote before} or {'conflict'}.
REPLACE = Script(
    "replace",
    """
local known = ARGV[5] ~= '' and redis.call('GET', KEYS[3])
if known then return {'repeat', known} end
local found = redis.call('GET', KEYS[1])
if ARGV[1] == '' then
  if found then return {'conflict'} end
elseif not found or tostring(cjson.decode(found)['updated_at_ms']) ~= ARGV[1] then
  return {'conflict'}
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4])
if ARGV[5] ~= '' then redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[5]) end
if #KEYS > 3 then
  redis.call('XADD', KEYS[4], unpack(ARGV, 7))
  redis.call('PEXPIRE', KEYS[4], ARGV[6])
end
return {'done'}
""",
)

# KEYS: 1 a callback, 2 the outbox, 3 a stream of the audit trail, or none. ARGV: 1 the operation's
# id or "", 2 the callback's id, 3 when it is due in ms, 4 its sealed document, 5 ms for which audit
# entries are kept, 6… what XADD takes. Whoever had claimed it has lost it.
# Returns 1, or 0 when the operation was the last to do so, or there is no such callback any more.
RESEND = Script(
    "resend",
    """
local last = redis.call('HMGET', KEYS[1], 'o', 'd')
if not last[2] or (ARGV[1] ~= '' and last[1] == ARGV[1]) then return 0 end
redis.call('HINCRBY', KEYS[1], 'fence', 1)
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'd', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
if #KEYS > 2 then
  redis.call('XADD', KEYS[3], unpack(ARGV, 6))
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
return 1
""",
)

# KEYS: 1 a customer, or a sweep. ARGV: 1 wrapped data key expected, 2 the new one. The version
# moves on, so an erasure under way asks again which epoch it has to wait for. Returns 1, or 0 if it
# was another.
REWRAP = Script(
    "rewrap",
    """
if redis.call('HGET', KEYS[1], 'k') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'k', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'v', 1)
return 1
""",
)

# KEYS: customers. Returns the wrapped data key of each, nil for one who is not there.
DATA_KEYS = Script(
    "data_keys",
    """
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('HGET', key, 'k') end
return found
""",
)

# KEYS: 1 a STRING. ARGV: 1 what it holds, "" for nothing; 2 what it shall hold, 3 for how many ms,
# absent for ever. Returns 1, or 0 when it held something else.
SWAP = Script(
    "swap",
    """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], unpack(ARGV[3] and {'PX', ARGV[3]} or {}))
return 1
""",
)
