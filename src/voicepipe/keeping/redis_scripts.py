"""What Redis does for one operation of `RedisStore`, in Lua: `KEYS[1]` is the record of a call.

Rule 1: what a script writes, it writes with one command where it can: a server without memory refuses commands one by
        one, and takes nothing back.
Rule 2: times and revisions are whole numbers, of microseconds since 1970; they stay exact as Lua's numbers until 2255.
Rule 3: a revision is never used twice, even if the server loses its data: it is the time, or more.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CLAIM", "CREATE", "FORGET", "GET", "PUT"]

TIME: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function whole(number) return string.format('%.0f', number) end
"""

CREATE: Final = (
    TIME
    + """
local worker, held_ms = ARGV[1], ARGV[2]
local before = redis.call('HGET', KEYS[1], 'revision')
local revision = whole(math.max(now, (tonumber(before) or 0) + 1))
redis.call('HSET', KEYS[1], 'first', revision, 'revision', revision, 'worker', worker, 'data', '',
    'lease', '0', 'before', '0')
redis.call('HDEL', KEYS[1], 'late')
redis.call('PEXPIRE', KEYS[1], held_ms)
return revision
"""
)

PUT: Final = (
    TIME
    + """
local mine, data, lease, held_ms = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local found = redis.call('HMGET', KEYS[1], 'revision', 'first')
local revision, first = tonumber(found[1]), tonumber(found[2])
local is_kept = redis.call('HEXISTS', KEYS[1], 'data') == 1
if revision and mine < revision then
    if is_kept and mine >= first then redis.call('HSET', KEYS[1], 'late', data) end
    return 0
end
if not revision then -- it was lost
    redis.call('HSET', KEYS[1], 'first', whole(mine), 'revision', whole(mine), 'worker', '', 'data', data,
        'lease', whole(now + lease), 'before', '0')
elseif is_kept and mine > revision then -- a claim was lost
    redis.call('HSET', KEYS[1], 'revision', whole(mine), 'worker', '', 'data', data, 'lease', whole(now + lease))
elseif is_kept then
    redis.call('HSET', KEYS[1], 'data', data, 'lease', whole(now + lease))
end
redis.call('PEXPIRE', KEYS[1], held_ms)
return 1
"""
)

READ: Final = """
local function read()
    local found = redis.call('HMGET', KEYS[1], 'data', 'revision', 'worker', 'lease', 'before', 'late')
    if not found[1] then return false end
    found[7], found[8] = time[1], time[2]
    return found
end
"""

GET: Final = TIME + READ + "return read()"

CLAIM: Final = (
    TIME
    + READ
    + """
local found = redis.call('HMGET', KEYS[1], 'revision', 'lease', 'before')
if redis.call('HEXISTS', KEYS[1], 'data') == 0 then return false end
local before = math.max(tonumber(found[2]), tonumber(found[3]))
redis.call('HSET', KEYS[1], 'revision', whole(math.max(now, tonumber(found[1]) + 1)), 'worker', ARGV[1],
    'lease', '0', 'before', whole(before))
return read()
"""
)

FORGET: Final = "redis.call('HDEL', KEYS[1], 'data', 'late', 'worker', 'lease', 'before')"
