"""Conversations in Redis, outside of the server process. Every call is one script, which Redis runs as one step.

Of a session, `session` is a hash of its fields; `order` lists the messages' ids; `messages` has three fields for each: its id, with what
never changes, ID:text, and ID:found, with emotion and safety; `clients` leads from a `client_id` to its message. All of them expire by
themselves when nobody has touched the session for the retention time. `empathetic:updated` orders the sessions by that touch, for `purge`.
A turn writes only while its id is in `turn` (`relays/redis_relay.py`): one that hung must not write over what another process has
answered since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from ..errors import NotFound, SessionBusy
from ..redis_connection import RedisConnection, session_keys, translated
from ..safety import Level
from .protocols import Conversation, Feedback, Message, Session, now, writing_turn

_UPDATED = "empathetic:updated"
_PURGED_AT_ONCE = 500

# A script answers with a status, which is "ok" or the message of a NotFound, and a value.
_PREAMBLE = """
local session, order, messages, clients, feedback, frames, turn, updated = unpack(KEYS)
local id, at, score, seconds, last_seq, writer = unpack(ARGV)

if redis.call('EXISTS', session) == 0 then return {'no such session'} end
if writer ~= '' and redis.call('GET', turn) ~= writer then return {'lost'} end

local function touch()
  redis.call('HSET', session, 'updated_at', at)
  if tonumber(last_seq) > tonumber(redis.call('HGET', session, 'last_seq')) then redis.call('HSET', session, 'last_seq', last_seq) end
  redis.call('ZADD', updated, score, id)
  for _, key in ipairs({session, order, messages, clients, feedback}) do redis.call('EXPIRE', key, seconds) end
end

local function position(message, role)
  local place = redis.call('LPOS', order, message)
  if place and (not role or cjson.decode(redis.call('HGET', messages, message)).role == role) then return place end
end

local function drop_after(place)
  for _, message in ipairs(redis.call('LRANGE', order, place + 1, -1)) do
    local client_id = cjson.decode(redis.call('HGET', messages, message)).client_id
    if client_id then redis.call('HDEL', clients, client_id) end
    redis.call('HDEL', messages, message, message .. ':text', message .. ':found')
    redis.call('HDEL', feedback, message)
  end
  redis.call('LTRIM', order, 0, place)
end

local function append(message, fixed, text)
  redis.call('RPUSH', order, message)
  redis.call('HSET', messages, message, fixed, message .. ':text', text)
end

local function read(message)
  return {message, unpack(redis.call('HMGET', messages, message, message .. ':text', message .. ':found'))}
end
"""

_CREATE = """
local session, updated = KEYS[1], KEYS[#KEYS]
local id, at, score, seconds, last_seq = unpack(ARGV)
redis.call('HSET', session, 'last_seq', last_seq, unpack(ARGV, 7))
redis.call('EXPIRE', session, seconds)
redis.call('ZADD', updated, score, id)
return {'ok'}
"""

_LOAD = """
return {'ok', {redis.call('HGETALL', session), redis.call('LRANGE', order, 0, -1), redis.call('HGETALL', messages),
  redis.call('HGETALL', feedback)}}
"""

_ADD = """
local message, fixed, text, client_id = unpack(ARGV, 7)
if client_id then
  local earlier = redis.call('HGET', clients, client_id)
  if earlier then return {'ok', read(earlier)} end
  redis.call('HSET', clients, client_id, message)
end
append(message, fixed, text)
touch()
return {'ok', read(message)}
"""

_EDIT = """
local message, text = unpack(ARGV, 7)
local place = position(message, 'user')
if not place then return {'no such message'} end
drop_after(place)
redis.call('HSET', messages, message .. ':text', text)
redis.call('HDEL', messages, message .. ':found')
touch()
return {'ok', read(message)}
"""

_FINISH = """
local message, found, reply, fixed, text, disclosed_at = unpack(ARGV, 7)
local place = position(message, 'user')
if not place then return {'no such message'} end
drop_after(place)
redis.call('HSET', messages, message .. ':found', found)
append(reply, fixed, text)
if disclosed_at then redis.call('HSET', session, 'disclosed_at', disclosed_at) end
touch()
return {'ok'}
"""

_NAME = """
if ARGV[7] then redis.call('HSET', session, 'user_name', ARGV[7]) else redis.call('HDEL', session, 'user_name') end
touch()
return {'ok'}
"""

_TOUCH = """
touch()
return {'ok'}
"""

_FEEDBACK = """
local message, given = unpack(ARGV, 7)
if not position(message) then return {'no such message'} end
redis.call('HSET', feedback, message, given)
touch()
return {'ok'}
"""

# Deletes what is older than a score, or whatever it is; the place among the updated ones outlives what has expired by itself.
_DELETE = """
local id, before = unpack(ARGV)
local exists = redis.call('EXISTS', KEYS[1])
local score = redis.call('ZSCORE', KEYS[#KEYS], id)
if before and (not score or tonumber(score) >= tonumber(before)) then return 0 end
redis.call('ZREM', KEYS[#KEYS], id)
redis.call('DEL', unpack(KEYS, 1, #KEYS - 1))
return before and 1 or exists
"""


class RedisSessions:
    """Keeps conversations in a Redis; as safe as that Redis' log is (docs/operations.md).

    Args:
        connection: where.
        retention_days: sessions that nobody touched for so long are gone.
    """

    name = "redis"

    def __init__(self, connection: RedisConnection, *, retention_days: int) -> None:
        self.connection = connection
        self._retention_s = retention_days * 86400

    async def open(self) -> None:
        """Connect; raises StoreError."""
        await self.connection.open()
        await self.connection.warn_of_losses()

    async def create(self, session: Session) -> None:
        """Store a new session."""
        fields = {"greeting": session.greeting, "created_at": session.created_at, "updated_at": session.updated_at}
        fields |= {"disclosed_at": session.disclosed_at, **({} if session.user_name is None else {"user_name": session.user_name})}
        pairs = [part for field in fields.items() for part in field]
        await self._run(_CREATE, session.session_id, *pairs, last_seq=session.last_seq, at=session.updated_at)

    async def load(self, session_id: str) -> Conversation:
        """Return a session with everything in it."""
        session, order, messages, feedback = await self._run(_PREAMBLE + _LOAD, session_id)
        fields, stored = _pairs(session), _pairs(messages)
        given = (Feedback(message_id, **json.loads(opinion)) for message_id, opinion in _pairs(feedback).items())
        return Conversation(
            Session(
                session_id,
                fields["greeting"],
                created_at=fields["created_at"],
                updated_at=fields["updated_at"],
                user_name=fields.get("user_name"),
                disclosed_at=fields["disclosed_at"],
                last_seq=int(fields["last_seq"]),
            ),
            tuple(_message(name, stored[name], stored[f"{name}:text"], stored.get(f"{name}:found")) for name in map(_text, order)),
            tuple(sorted(given, key=lambda opinion: opinion.created_at)),
        )

    async def add_user_message(self, session_id: str, message: Message, *, last_seq: int) -> Message:
        """Append a user's message, or return the one with the same `client_id`."""
        client = [] if message.client_id is None else [message.client_id]
        arguments = (message.message_id, _fixed(message), message.text, *client)
        return _message(*map(_text, await self._run(_PREAMBLE + _ADD, session_id, *arguments, last_seq=last_seq)))

    async def edit_user_message(self, session_id: str, message_id: str, text: str, *, last_seq: int) -> Message:
        """Change a user's message and drop what followed."""
        return _message(*map(_text, await self._run(_PREAMBLE + _EDIT, session_id, message_id, text, last_seq=last_seq)))

    async def finish_turn(
        self,
        session_id: str,
        message_id: str,
        reply: Message,
        *,
        emotion: Mapping[str, Any] | None,
        safety: Level | None,
        disclosed_at: str | None,
        last_seq: int,
    ) -> None:
        """Store the reply to a user's message in place of what followed it."""
        arguments = [message_id, json.dumps([emotion, safety]), reply.message_id, _fixed(reply), reply.text]
        await self._run(_PREAMBLE + _FINISH, session_id, *arguments, *([disclosed_at] if disclosed_at else []), last_seq=last_seq)

    async def set_user_name(self, session_id: str, name: str | None) -> None:
        """Set or erase the name."""
        await self._run(_PREAMBLE + _NAME, session_id, *([] if name is None else [name]))

    async def set_last_seq(self, session_id: str, last_seq: int) -> None:
        """Raise the frame number."""
        await self._run(_PREAMBLE + _TOUCH, session_id, last_seq=last_seq)

    async def add_feedback(self, session_id: str, feedback: Feedback) -> None:
        """Store feedback on a message."""
        given = {"rating": feedback.rating, "comment": feedback.comment, "created_at": feedback.created_at}
        await self._run(_PREAMBLE + _FEEDBACK, session_id, feedback.message_id, json.dumps(given))

    async def delete(self, session_id: str) -> None:
        """Delete a session; its bytes are gone from Redis' log when that is next rewritten."""
        if not await self.connection.run(_DELETE, [*session_keys(session_id), _UPDATED], session_id):
            raise NotFound("no such session")

    async def purge(self, before: str) -> int:
        """Delete the sessions that nobody touched since a time; of several processes that do so, one counts a session."""
        purged = 0
        while True:
            with translated():
                old = await self.connection.client.zrange(
                    _UPDATED, "-inf", f"({_score(before)}", byscore=True, offset=0, num=_PURGED_AT_ONCE
                )
            for session_id in map(_text, old):
                purged += await self.connection.run(_DELETE, [*session_keys(session_id), _UPDATED], session_id, _score(before))
            if len(old) < _PURGED_AT_ONCE:
                return purged

    async def ready(self) -> bool:
        """Whether a conversation can be stored now."""
        return await self.connection.ready()

    async def aclose(self) -> None:
        """Disconnect."""
        await self.connection.aclose()

    async def _run(self, script: str, session_id: str, *arguments: str, last_seq: int = 0, at: str | None = None) -> Any:
        """Run a script on a session and return its value; raises NotFound, or SessionBusy when the writing turn has lost the session."""
        at = at or now()
        keys = [*session_keys(session_id), _UPDATED]
        standard = (session_id, at, _score(at), self._retention_s, last_seq, writing_turn.get() or "")
        status, *value = await self.connection.run(script, keys, *standard, *arguments)
        if status == b"lost":
            raise SessionBusy("another server has taken the conversation over")
        if status != b"ok":
            raise NotFound(_text(status))
        return value[0] if value else None


def _fixed(message: Message) -> str:
    """Encode what never changes of a message."""
    fields = {"role": message.role, "created_at": message.created_at, "client_id": message.client_id}
    fields |= {"finish_reason": message.finish_reason, "strategy": message.strategy}
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def _message(message_id: str, fixed: str, text: str, found: str | None) -> Message:
    emotion, safety = (None, None) if found is None else json.loads(found)
    return Message(message_id, text=text, emotion=emotion, safety=safety, **json.loads(fixed))


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    """Return a hash out of the list in which scripts give it."""
    texts = [part.decode() for part in flat]
    return dict(zip(islice(texts, 0, None, 2), islice(texts, 1, None, 2), strict=True))


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _score(at: str) -> int:
    """Return a stored time as milliseconds."""
    return round(1000 * datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp())
