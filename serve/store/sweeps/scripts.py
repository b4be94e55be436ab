"""The Lua scripts of sweeps. Every key of a sweep lies in one slot; each script looks first and
writes afterwards, and one that is sent again does nothing twice. A record's fields are told by
`names.sweep`.
"""

from serve.store.scripts import Script

_CLOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_us = time[1] * 1000000 + time[2]
local function digits(number) return string.format('%.0f', number) end
"""

# KEYS: 1 the operation's record, 2 the sweep, 3 the world's list, 4 those of it that are not over,
# 5 those of the partition that are not over, 6 those that are kept. ARGV: 1 id, 2 world, 3 wrapped
# data key, 4 sealed document, 5 ms it is kept, 6 ms the operation is remembered, 7 how many of a
# world may be under way.
# Returns {'done'}, {'repeat', id of what the operation wrote before} or {'full'}.
CREATE = Script(
    "sweep_create",
    _CLOCK
    + """
local known = redis.call('GET', KEYS[1])
if known then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])  -- a write, so that a WAIT behind it covers the first
  return {'repeat', known}
end
local old = now - ARGV[5]
if redis.call('ZCOUNT', KEYS[4], '(' .. old, '+inf') >= tonumber(ARGV[7]) then return {'full'} end
local expires = now + ARGV[5]
redis.call('HSET', KEYS[2], 'u', ARGV[2], 'k', ARGV[3], 'd', ARGV[4], 's', 'queued',
  'x', expires, 'at', now)
for i = 3, 5 do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', old)
  redis.call('ZADD', KEYS[i], now, ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now)
redis.call('ZADD', KEYS[6], expires, ARGV[1])
for i = 2, 6 do redis.call('PEXPIREAT', KEYS[i], expires) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[6])
return {'done'}
""",
)

# KEYS: 1 a sweep, 2, 3 the lists of those that are not over, 4… its parts. ARGV: 1 its world,
# 2 its id, 3 the sealed document expected, 4 a new wrapped data key, 5 the document under that.
# Returns 1, 0 when the document was another, or nil where there is none of this world.
CANCEL = Script(
    "sweep_cancel",
    _CLOCK
    + """
local is = redis.call('HMGET', KEYS[1], 'u', 's', 'd')
if is[1] ~= ARGV[1] then return false end
if is[2] ~= 'queued' and is[2] ~= 'running' then
  redis.call('HSET', KEYS[1], 's', is[2])  -- a write, so that a WAIT behind it covers the first
  return 1
end
if is[3] ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 's', 'canceled', 'e', now, 'k', ARGV[4], 'd', ARGV[5])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('UNLINK', unpack(KEYS, 4))
return 1
""",
)

# KEYS: 1 a sweep. ARGV: 1 ms of the hold, 2 who asks. Returns {fence, until} or {}. A fence is a
# time, so that a primary that was cut off never hands out one of its successor's.
HOLD = Script(
    "sweep_hold",
    _CLOCK
    + """
local is = redis.call('HMGET', KEYS[1], 's', 'hf', 'hu', 'ht')
if is[1] ~= 'queued' and is[1] ~= 'running' then return {} end
local is_held = is[3] and tonumber(is[3]) > now
if is_held and is[4] == ARGV[2] then return {tonumber(is[2]), tonumber(is[3])} end
if is_held then return {} end
local fence = math.max(now_us, tonumber(is[2] or '0') + 1)
redis.call('HSET', KEYS[1], 'hf', digits(fence), 'hu', now + ARGV[1], 'ht', ARGV[2])
return {fence, now + ARGV[1]}
""",
)

# KEYS: 1 a sweep. ARGV: 1 fence, 2 ms of the hold. Returns until when, or nil when it was lost.
KEEP_HOLD = Script(
    "sweep_keep_hold",
    _CLOCK
    + """
local is = redis.call('HMGET', KEYS[1], 's', 'hf')
if is[2] ~= ARGV[1] or (is[1] ~= 'queued' and is[1] ~= 'running') then return false end
redis.call('HSET', KEYS[1], 'hu', now + ARGV[2])
return now + ARGV[2]
""",
)

# KEYS: 1 a sweep, 2 its plan, 3 its tiles. ARGV: 1 fence, 2 sealed document, 3 sealed plan,
# 4… tiles, in the order in which they are to be claimed. The hold ends with it.
# Returns 1, or 0 when the hold was lost, or the sweep is not queued any more.
PLAN = Script(
    "sweep_plan",
    _CLOCK
    + """
local is = redis.call('HMGET', KEYS[1], 's', 'hf', 'by', 'x')
if is[1] == 'running' and is[3] == ARGV[1] then return 1 end
if is[1] ~= 'queued' or is[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 's', 'running', 'd', ARGV[2], 'by', ARGV[1], 'hu', 0,
  'c', digits(now_us), 'pf', digits(now_us), 'td', 0, 'cp', 0, 'mt', 0, 'fd', 0, 'bm', 0)
redis.call('SET', KEYS[2], ARGV[3])
for i = 4, #ARGV do redis.call('ZADD', KEYS[3], i, ARGV[i]) end
redis.call('PEXPIREAT', KEYS[2], is[4])
redis.call('PEXPIREAT', KEYS[3], is[4])
return 1
""",
)

# KEYS: 1 a sweep, 2 its tiles, 3 its claims. ARGV: 1 how many, 2 ms of lease.
# Returns {tile, fence, tries} of each. A claim's fence is higher than those of earlier plans.
CLAIM_TILES = Script(
    "sweep_claim",
    _CLOCK
    + """
local is = redis.call('HMGET', KEYS[1], 's', 'x')
if is[1] ~= 'running' then return {} end
local claimed = {}
for _, tile in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local last = redis.call('HGET', KEYS[3], tile)
  local tries = 1 + (last and tonumber(string.match(last, '%d+$')) or 0)
  local fence = redis.call('HINCRBY', KEYS[1], 'c', 1)
  redis.call('HSET', KEYS[3], tile, digits(fence) .. ' ' .. tries)
  redis.call('ZADD', KEYS[2], now + ARGV[2], tile)
  claimed[#claimed + 1] = {tile, fence, tries}
end
redis.call('PEXPIREAT', KEYS[3], is[2])
return claimed
""",
)

# KEYS: 1 a sweep, 2 its tiles, 3 its claims. ARGV: 1 "renew" or "release", 2 ms of lease,
# 3… tile, fence, … A released one has no fence any more, and one try less. Returns how many were
# still theirs.
MOVE_TILES = Script(
    "sweep_move",
    _CLOCK
    + """
if redis.call('HGET', KEYS[1], 's') ~= 'running' then return 0 end
local moved = 0
for i = 3, #ARGV, 2 do
  local tile = ARGV[i]
  local last = redis.call('HGET', KEYS[3], tile) or ''
  local fence, tries = string.match(last, '^(%d+) (%d+)$')
  if fence == ARGV[i + 1] and redis.call('ZSCORE', KEYS[2], tile) then
    moved = moved + 1
    if ARGV[1] == 'release' then
      redis.call('HSET', KEYS[3], tile, '0 ' .. (tries - 1))
      redis.call('ZADD', KEYS[2], 0, tile)
    else
      redis.call('ZADD', KEYS[2], now + ARGV[2], tile)
    end
  end
end
return moved
""",
)

# KEYS: 1 a sweep, 2 its results or its report. ARGV: 1 "tile" or "hold", 2 the fence of that,
# 3 whether what was there goes first, "1" or "", 4… field, value, … Returns 1, or 0 when the plan
# is another's, the hold was lost or the sweep is over.
PUT = Script(
    "sweep_put",
    """
local is = redis.call('HMGET', KEYS[1], 's', 'hf', 'pf', 'x')
if ARGV[1] == 'tile' then
  if is[1] ~= 'running' or tonumber(ARGV[2]) <= tonumber(is[3]) then return 0 end
elseif is[2] ~= ARGV[2] or (is[1] ~= 'queued' and is[1] ~= 'running') then
  return 0
end
if ARGV[3] == '1' then redis.call('UNLINK', KEYS[2]) end
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
redis.call('PEXPIREAT', KEYS[2], is[4])
return 1
""",
)

# KEYS: 1 a sweep, 2 its tiles, 3 those that are done. ARGV: 1 tile, 2 fence, 3 how many parts its
# results have, 4 … 7 pairs compared, mates, found, ms, 8 the score from which on all are known.
# Returns 1, or 0 when the sweep is over, the plan is another's or there is no such tile.
FINISH_TILE = Script(
    "sweep_finish",
    """
local is = redis.call('HMGET', KEYS[1], 's', 'pf', 'x', 'cf')
if is[1] ~= 'running' or tonumber(ARGV[2]) <= tonumber(is[2]) then return 0 end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then return 1 end
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
redis.call('PEXPIREAT', KEYS[3], is[3])
redis.call('HINCRBY', KEYS[1], 'td', 1)
for i, name in ipairs({'cp', 'mt', 'fd', 'bm'}) do
  redis.call('HINCRBY', KEYS[1], name, ARGV[3 + i])
end
if not is[4] or tonumber(is[4]) < tonumber(ARGV[8]) then
  redis.call('HSET', KEYS[1], 'cf', ARGV[8])
end
return 1
""",
)

# KEYS: 1 a sweep, 2, 3 the lists of those that are not over, 4 the world's newest that is whole,
# 5 its newest that calibrated, 6 its plan, 7… the parts that go. ARGV: 1 fence, 2 id, 3 status,
# 4 sealed document, 5, 6 whether it is whole, and calibrated, "1" or "", 7 the wrapped data key
# that all is sealed under from now on, 8 sealed plan, or "" where it goes. Returns 1, or 0 when the
# hold was lost or it was over already.
END = Script(
    "sweep_end",
    """
local is = redis.call('HMGET', KEYS[1], 's', 'hf', 'by', 'x', 'at')
local is_over = is[1] ~= 'queued' and is[1] ~= 'running'
if is[1] == ARGV[3] and is_over and is[3] == ARGV[1] then
  redis.call('HSET', KEYS[1], 's', is[1])  -- a write, so that a WAIT behind it covers the first
  return 1
end
if is_over or is[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 's', ARGV[3], 'd', ARGV[4], 'by', ARGV[1], 'hu', 0, 'k', ARGV[7])
redis.call('HDEL', KEYS[1], 'td', 'cp', 'mt', 'fd', 'bm', 'cf')
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('UNLINK', unpack(KEYS, 6))
if ARGV[8] ~= '' then redis.call('SET', KEYS[6], ARGV[8], 'PXAT', is[4]) end
for i = 4, 5 do
  local newest = redis.call('HGET', KEYS[i], 'at')
  if ARGV[i + 1] == '1' and (not newest or tonumber(newest) <= tonumber(is[5])) then
    redis.call('HSET', KEYS[i], 'id', ARGV[2], 'at', is[5])
    redis.call('PEXPIREAT', KEYS[i], is[4])
  end
end
return 1
""",
)

# KEYS: 1 a sweep, 2 its plan, 3 its report, 4 another report. ARGV: 1 wrapped data key expected,
# 2 the new one, 3 sealed document, 4 sealed plan or "". The other report takes the place of the
# first. Returns 1, or 0 when the data key was another: then the other report goes.
REKEY = Script(
    "sweep_rekey",
    """
local is = redis.call('HMGET', KEYS[1], 'k', 'x')
if is[1] ~= ARGV[1] or redis.call('EXISTS', KEYS[4]) == 0 then
  redis.call('UNLINK', KEYS[4])
  return 0
end
redis.call('HSET', KEYS[1], 'k', ARGV[2], 'd', ARGV[3])
if ARGV[4] ~= '' then redis.call('SET', KEYS[2], ARGV[4], 'PXAT', is[2]) end
redis.call('UNLINK', KEYS[3])
redis.call('RENAME', KEYS[4], KEYS[3])
redis.call('PEXPIREAT', KEYS[3], is[2])
return 1
""",
)
