"""What Redis does in one step, in Lua. Every key of a session begins with `latchkey:{ID}`.

    latchkey:{ID}         hash: version, data, seen, expires, user, made, public; Redis forgets it
    latchkey:{ID}:lock    the lease: who edits, for how long
    latchkey:{ID}:turn    who has been waiting for the lock, so that he is next
    latchkey:expiry       sorted set: ids by when they are over
    latchkey:processes    set: the names of the processes
    latchkey:process:NAME hash: ids of sessions and the transports of their connections there
    latchkey:number:N     the process that has this --process-number, for 10 s at a time
    latchkey:user:NAME    sorted set: the ids of a user by when they were seen
    latchkey:public:NAME  hash: the same ids by public id

The scripts find keys by themselves, which a single Redis allows and a Cluster does not. Those
that may run out of memory write what needs memory first, so that they do all or nothing.
"""

from __future__ import annotations

import hashlib

from app.stores.redis.wire import Word, bulk, pack

PREFIX = "latchkey:"
PROCESSES = PREFIX + "processes"
PROCESS = PREFIX + "process:"
FIELDS = ("version", "data", "seen", "expires", "user", "made")

# a key that somebody made something else of is an error in its own row only
_READ = "redis.pcall('hmget', key, " + ", ".join(f"'{field}'" for field in FIELDS) + ")"
_NEXT = """
local function unlock(key, token)
  if redis.call('get', key .. ':lock') ~= token then return end
  redis.call('del', key .. ':lock')
  local turn = redis.call('get', key .. ':turn')
  if turn then redis.call('publish', 'latchkey:turn:' .. string.sub(turn, 1, 16), turn) end
end
"""
_REMOVE = """
local function remove(id, key, record)
  if record[5] then
    redis.call('zrem', 'latchkey:user:' .. record[5], id)
    local public = redis.call('hget', key, 'public')
    if public then redis.call('hdel', 'latchkey:public:' .. record[5], public) end
  end
  redis.call('del', key)
  redis.call('zrem', 'latchkey:expiry', id)
  redis.call('publish', 'latchkey:gone', id)
end
"""
# how long Redis keeps a record and the indexes that it is in; '' is for ever
_KEEP = """
local function lengthen(index, old, left)
  if left == '' then
    redis.call('persist', index)
  elseif old == -2 or (old >= 0 and old < tonumber(left)) then
    redis.call('pexpire', index, left)
  end
end
local function keep(id, key, user, seen, expires, left)
  if left == '' then
    redis.call('zrem', 'latchkey:expiry', id)
  else
    redis.call('zadd', 'latchkey:expiry', expires, id)
  end
  if user then
    local index = 'latchkey:user:' .. user
    local old = redis.call('pttl', index)
    redis.call('zadd', index, seen, id)
    lengthen(index, old, left)
    local public = 'latchkey:public:' .. user
    lengthen(public, redis.call('pttl', public), left)
  end
  if left == '' then redis.call('persist', key) else redis.call('pexpire', key, left) end
end
"""


def key(session_id: str) -> bytes:
    """Return the key of a session's record."""
    return b"".join((b"latchkey:{", session_id.encode(), b"}"))


class Script:
    """A script, called by its hash."""

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        self._sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()

    def call(self, *words: Word) -> bytes:
        """Return the packed command that runs it with these ARGV."""
        return pack((b"EVALSHA", self._sha, b"0", *words))

    def call_on(self, key: bytes, *words: Word) -> bytes:
        """Return the packed command that runs it with this one key and these ARGV."""
        return pack((b"EVALSHA", self._sha, b"1", key, *words))

    def opening(self, words: int) -> bytes:
        """Return how a packed command begins that runs it with one key and this many ARGV.

        They are to follow, each as `bulk` packs it; for those who are in a hurry.
        """
        return b"*%d\r\n" % (words + 4) + b"".join(map(bulk, (b"EVALSHA", self._sha, b"1")))

    def load(self) -> bytes:
        """Return the packed command that makes it known."""
        return pack((b"SCRIPT", b"LOAD", self.source))


# ARGV: token, version and seen of the record that is known, milliseconds of the lease. A record, of
# that version only seen and expires; 1 where it is as known; or 0 where it is not one's turn.
LOCK = Script(f"""
local key, token = KEYS[1], ARGV[1]
local turn = redis.call('get', key .. ':turn')
local mine = turn == token
if (mine or not turn) and redis.call('set', key .. ':lock', token, 'nx', 'px', ARGV[4]) then
  if mine then redis.call('del', key .. ':turn') end
  local record = {_READ}
  if record[1] ~= ARGV[2] then return record end
  if record[3] ~= ARGV[3] then return {{record[3], record[4]}} end
  return 1
end
if mine or not turn then redis.call('set', key .. ':turn', token, 'px', 150) end
local held = redis.call('get', key .. ':lock')
if held then
  redis.call('publish', 'latchkey:wanted:' .. string.sub(held, 1, 16), string.sub(key, 11, -2))
end
return 0
""")

# ARGV: token, version that was read, data, milliseconds for which the lock is kept, or ''. 1; 2: it
# was not kept, since another waits; 0: gone; -1: somebody else's.
SAVE = Script(f"""{_NEXT}
local key, token = KEYS[1], ARGV[1]
local version = redis.call('hget', key, 'version')
local held = redis.call('get', key .. ':lock')
local result = 1
if not version then
  result = 0
elseif version ~= ARGV[2] or (held and held ~= token) then
  result = -1
else
  redis.call('hset', key, 'version', version + 1, 'data', ARGV[3])
  if ARGV[4] ~= '' then
    if not redis.call('get', key .. ':turn') then
      redis.call('set', key .. ':lock', token, 'px', ARGV[4])
      return 1
    end
    result = 2
  end
end
unlock(key, token)
return result
""")

# ARGV: token
RELEASE = Script(f"""{_NEXT}
unlock(KEYS[1], ARGV[1])
if redis.call('get', KEYS[1] .. ':turn') == ARGV[1] then redis.call('del', KEYS[1] .. ':turn') end
""")

# ARGV: who, milliseconds of the lease. Whether the key is theirs now; it is taken where it is free.
HOLD = Script("""
local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return 1
""")

# ARGV: who
LET_GO = Script("""
if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end
""")

# ARGV: id, milliseconds to keep it, then the fields' values, of which user and public may lack
ADD = Script(f"""{_KEEP}
local key = KEYS[1]
redis.call('hset', key, 'version', ARGV[3], 'data', ARGV[4], 'seen', ARGV[5],
  'expires', ARGV[6], 'made', ARGV[7])
if ARGV[8] then
  redis.call('hset', key, 'user', ARGV[8], 'public', ARGV[9])
  local public = 'latchkey:public:' .. ARGV[8]
  local old = redis.call('pttl', public)
  redis.call('hset', public, ARGV[9], ARGV[1])
  lengthen(public, old, ARGV[2])
end
keep(ARGV[1], key, ARGV[8], ARGV[5], ARGV[6], ARGV[2])
""")

# ARGV: id, seen, expires, milliseconds to keep it, and so on; never to an earlier time of either
TOUCH = Script(f"""{_KEEP}
for i = 1, #ARGV, 4 do
  local id = ARGV[i]
  local key = 'latchkey:{{' .. id .. '}}'
  local old = redis.call('hmget', key, 'seen', 'user', 'expires')
  if old[1] and tonumber(ARGV[i + 1]) >= tonumber(old[1]) then
    if tonumber(ARGV[i + 2]) >= tonumber(old[3]) then
      redis.call('hset', key, 'seen', ARGV[i + 1], 'expires', ARGV[i + 2])
      keep(id, key, old[2], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
    else
      redis.call('hset', key, 'seen', ARGV[i + 1])
      if old[2] then redis.call('zadd', 'latchkey:user:' .. old[2], ARGV[i + 1], id) end
    end
  end
end
""")

# ARGV: id. The record that was removed.
DESTROY = Script(f"""{_REMOVE}
local key = KEYS[1]
local record = {_READ}
if record[1] then remove(ARGV[1], key, record) end
return record
""")

# ARGV: ids. Their records, in order.
LOAD_MANY = Script(f"""
local records = {{}}
for i, id in ipairs(ARGV) do
  local key = 'latchkey:{{' .. id .. '}}'
  records[i] = {_READ}
end
return records
""")

# ARGV: user, how many. Ids and records by turns, those seen last first; ids without record leave
# the index.
OF_USER = Script(f"""
local index, found = 'latchkey:user:' .. ARGV[1], {{}}
repeat
  local ids = redis.call('zrevrange', index, 0, ARGV[2] - 1)
  for _, id in ipairs(ids) do
    local key = 'latchkey:{{' .. id .. '}}'
    local record = {_READ}
    if record[1] then
      found[#found + 1] = id
      found[#found + 1] = record
    else
      redis.call('zrem', index, id)
    end
  end
until #ids == 0 or #found > 0
return found
""")

# ARGV: user
COUNT = Script("return redis.call('zcard', 'latchkey:user:' .. ARGV[1])")

# ARGV: user, public id. Id and record; 0: there is none; 1: there may be one that is not indexed.
FIND = Script(f"""
local public = 'latchkey:public:' .. ARGV[1]
local id = redis.call('hget', public, ARGV[2])
if id then
  local key = 'latchkey:{{' .. id .. '}}'
  local record = {_READ}
  if record[5] == ARGV[1] then return {{id, record}} end
  redis.call('hdel', public, ARGV[2])
end
if redis.call('hlen', public) < redis.call('zcard', 'latchkey:user:' .. ARGV[1]) then return 1 end
return 0
""")

# ARGV: user, how many to pass over, how many to look at. How many of those stay in the list of the
# user, and the ids that have no public id, because an older release wrote them.
UNINDEXED = Script("""
local index, stay, found = 'latchkey:user:' .. ARGV[1], 0, {}
for _, id in ipairs(redis.call('zrange', index, ARGV[2], ARGV[2] + ARGV[3] - 1)) do
  local record = redis.pcall('hmget', 'latchkey:{' .. id .. '}', 'user', 'public')
  if record[1] == ARGV[1] then
    stay = stay + 1
    if not record[2] then found[#found + 1] = id end
  else
    redis.call('zrem', index, id)
  end
end
return {stay, found}
""")

# ARGV: user, then ids and public ids by turns
INDEX = Script("""
local public = 'latchkey:public:' .. ARGV[1]
for i = 2, #ARGV, 2 do
  local key = 'latchkey:{' .. ARGV[i] .. '}'
  if redis.pcall('hget', key, 'user') == ARGV[1] then
    redis.call('hset', key, 'public', ARGV[i + 1])
    redis.call('hset', public, ARGV[i + 1], ARGV[i])
  end
end
local left = redis.call('pttl', 'latchkey:user:' .. ARGV[1])
if left >= 0 then redis.call('pexpire', public, left) end
""")

# ARGV: user, most, id to keep, how many at a time. Ids and records that were removed, by turns.
TRIM = Script(f"""{_REMOVE}
local index, found = 'latchkey:user:' .. ARGV[1], {{}}
local excess = math.min(redis.call('zcard', index) - ARGV[2], ARGV[4])
if excess <= 0 then return found end
for _, id in ipairs(redis.call('zrange', index, 0, excess)) do
  if id ~= ARGV[3] and excess > 0 then
    excess = excess - 1
    local key = 'latchkey:{{' .. id .. '}}'
    local record = {_READ}
    if record[1] then
      remove(id, key, record)
      found[#found + 1] = id
      found[#found + 1] = record
    else
      redis.call('zrem', index, id)
    end
  end
end
return found
""")

# ARGV: now, how many. Ids and records that were removed, by turns.
PURGE = Script(f"""{_REMOVE}
local found = {{}}
for _, id in ipairs(
  redis.call('zrangebyscore', 'latchkey:expiry', '-inf', ARGV[1], 'limit', 0, ARGV[2])
) do
  local key = 'latchkey:{{' .. id .. '}}'
  local record = {_READ}
  remove(id, key, record)
  if record[1] then
    found[#found + 1] = id
    found[#found + 1] = record
  end
end
return found
""")

# ARGV: the process that asks, ids. For each other process that lives, its transports of these.
PRESENT = Script("""
local found = {}
for _, name in ipairs(redis.call('smembers', 'latchkey:processes')) do
  local key = 'latchkey:process:' .. name
  if redis.call('exists', key) == 0 then
    redis.call('srem', 'latchkey:processes', name)
  elseif name ~= ARGV[1] then
    found[#found + 1] = redis.call('hmget', key, unpack(ARGV, 2))
  end
end
return found
""")

ALL = (
    *(LOCK, SAVE, RELEASE, ADD, TOUCH, DESTROY, LOAD_MANY, PURGE, PRESENT),
    *(OF_USER, COUNT, FIND, UNINDEXED, INDEX, TRIM, HOLD, LET_GO),
)
