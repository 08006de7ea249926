"""Frames, signals and claims of the sessions that several server processes serve, through the Redis that keeps the conversations.

Of a session, `frames` is a stream of its last ten minutes, and `turn` holds the id of the running turn for as long as its process renews
it. A channel of the session's carries every frame and signal to each process that is attached. Numbering, keeping and handing on are one
script, so that all see the same frames in the same order, and none of a turn that has lost its session.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import orjson
from redis.asyncio.client import PubSub

from ..errors import BackendUnavailable, NotFound, SessionBusy
from ..events import Done, Event, fields
from ..frames import FRAME_SECONDS, Frame
from ..redis_connection import FAILURES, TIMEOUT_SECONDS, RedisConnection, session_keys, translated
from .protocols import TURN_SECONDS, Missed, Receiver, Signal

logger = logging.getLogger(__name__)

# Three chances to renew a claim before it expires, and three pulses before a subscription counts as dead.
_PULSE_SECONDS = TURN_SECONDS / 3
_CLAIM_MS = round(1000 * TURN_SECONDS)
_RETRY_SECONDS = 0.5
_SIGNALS = get_args(Signal)
_CHANNEL = "empathetic:channel:"

_PUBLISH = """
local session, frames, turn = unpack(KEYS)
local channel, id, ends, seconds, kind, event = unpack(ARGV)
if redis.call('EXISTS', session) == 0 then return {'gone'} end
if id ~= '' and redis.call('GET', turn) ~= id then return {'lost'} end
local seq = redis.call('HINCRBY', session, 'last_seq', 1)
local text = string.sub(event, 1, -2) .. ',"seq":' .. seq .. '}'
local oldest = (redis.call('TIME')[1] - seconds) * 1000
redis.call('XADD', frames, 'MINID', oldest, '*', 'seq', seq, 'type', kind, 'text', text)
redis.call('EXPIRE', frames, seconds)
if ends == '1' then redis.call('DEL', turn) end
redis.call('PUBLISH', channel, seq .. ' ' .. kind .. ' ' .. text)
return {'ok', seq, text}
"""

# A number that a client has and Redis has not, because its log lost the last second, is taken over: numbers only rise.
_MISSED = """
local session, frames = unpack(KEYS)
local last_seq, seconds = tonumber(ARGV[1]), ARGV[2]
local seq = tonumber(redis.call('HGET', session, 'last_seq'))
if not seq then return {'gone'} end
local oldest = (redis.call('TIME')[1] - seconds) * 1000
local missed = {}
if last_seq then
  local kept = redis.call('XRANGE', frames, oldest, '+')
  if #kept == 0 and last_seq > seq then
    redis.call('HSET', session, 'last_seq', last_seq)
    return {'ok', last_seq, missed, 0}
  end
  for _, entry in ipairs(kept) do
    if tonumber(entry[2][2]) > last_seq then missed[#missed + 1] = entry[2] end
  end
  if last_seq > seq or #missed < seq - last_seq then return {'ok', seq, missed, 0} end
end
return {'ok', seq, missed, 1}
"""

# A claim that has expired is not taken back: another process may have answered since.
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


@dataclass(slots=True)
class _Channel:
    """An attached session's channel: whether Redis has confirmed the subscription, and the last frame that was handed on."""

    session_id: str
    seq: int = 0
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)


class RedisRelay:
    """Hands frames from the process of a turn to the listeners of every process.

    Args:
        connection: the session store's, which opens and closes it.
    """

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._receiver: Receiver | None = None
        self._channels: dict[str, _Channel] = {}
        self._pubsub: PubSub | None = None
        # Subscribing and unsubscribing reach Redis in the order in which they were decided.
        self._commands = asyncio.Lock()
        self._claims: dict[str, str] = {}
        self._unreleased: set[tuple[str, str]] = set()
        self._pulse = f"empathetic:pulse:{secrets.token_hex(8)}"
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, receiver: Receiver) -> None:
        """Begin to hand on, once Redis has confirmed a subscription."""
        self._receiver = receiver
        self._channels[self._pulse] = pulse = _Channel("")
        self._tasks = [asyncio.create_task(self._forever(step)) for step in (self._subscribe_and_read, self._renew)]
        await _confirmed(pulse)

    async def attach(self, session_id: str, last_seq: int) -> None:
        """Subscribe to the session's channel and wait until Redis has confirmed it."""
        name = _channel_name(session_id)
        channel = None
        while channel is None or self._channels.get(name) is not channel:  # else somebody has detached meanwhile
            channel = self._channels.get(name)
            if channel is None:
                channel = self._channels[name] = _Channel(session_id, last_seq)
                with translated():
                    async with self._commands:
                        if self._pubsub is not None:  # otherwise it is subscribed to when the connection is back
                            await self._pubsub.subscribe(name)
            await _confirmed(channel)

    async def detach(self, session_id: str) -> None:
        """Unsubscribe, unless somebody attaches meanwhile."""
        name = _channel_name(session_id)
        self._channels.pop(name, None)
        async with self._commands:
            if name not in self._channels and self._pubsub is not None:
                try:
                    await self._pubsub.unsubscribe(name)
                except FAILURES:
                    logger.debug("a subscription has ended with its connection")

    async def claim(self, session_id: str, turn_id: str) -> bool:
        """Take a session for one turn, and keep it until `release` or the last frame."""
        with translated():
            is_claimed = await self._connection.client.set(session_keys(session_id).turn, turn_id, nx=True, px=_CLAIM_MS)
        if is_claimed:
            self._claims[session_id] = turn_id
        return bool(is_claimed)

    async def release(self, session_id: str, turn_id: str) -> None:
        """Give a session back; when Redis is away, as soon as it is back."""
        if self._claims.get(session_id) == turn_id:
            del self._claims[session_id]
            self._unreleased.add((session_id, turn_id))
            try:
                await self._release_all()
            except BackendUnavailable as exc:
                logger.info("a session is given back later: %s", exc.message)

    async def publish(self, session_id: str, event: Event, turn_id: str | None) -> Frame:
        """Number an event, keep it and hand it on; with `Done` the claim ends in the same step."""
        keys = session_keys(session_id)
        encoded = orjson.dumps(fields(event)).decode()
        ends = isinstance(event, Done) and turn_id is not None
        if ends:  # before it is so in Redis: else it would look as if it was lost
            self._claims.pop(session_id, None)
        arguments = (_channel_name(session_id), turn_id or "", int(ends), round(FRAME_SECONDS), event.type, encoded)
        try:
            status, *value = await self._connection.run(_PUBLISH, [keys.session, keys.frames, keys.turn], *arguments)
        except BackendUnavailable:
            if ends:
                self._unreleased.add((session_id, str(turn_id)))
            raise
        if status == b"gone":
            raise NotFound("no such session")
        if status == b"lost":
            raise SessionBusy("another server has taken the conversation over")
        seq, text = value
        return Frame(seq, event.type, text.decode())

    async def missed(self, session_id: str, last_seq: int | None) -> Missed:
        """Return what came after a frame."""
        keys = session_keys(session_id)
        arguments = ("" if last_seq is None else last_seq, round(FRAME_SECONDS))
        status, *value = await self._connection.run(_MISSED, [keys.session, keys.frames], *arguments)
        if status == b"gone":
            raise NotFound("no such session")
        seq, entries, is_complete = value
        frames = [Frame(int(number), kind.decode(), text.decode()) for _, number, _, kind, _, text in entries]
        return Missed(frames, is_complete=bool(is_complete), seq=seq)

    def next_seq(self, session_id: str) -> int:
        """Return 0: Redis numbers the frames, and keeps the number with the session."""
        return 0

    async def signal(self, session_id: str, signal: Signal) -> None:
        """Hand a signal on to every process."""
        with translated():
            await self._connection.client.publish(_channel_name(session_id), signal)

    async def has_other_listeners(self, session_id: str) -> bool:
        """Whether another process is attached: only who has a listener or the turn is, and the turn is here."""
        with translated():
            [(_, attached)] = await self._connection.client.pubsub_numsub(_channel_name(session_id))
        return int(attached) > 1

    async def aclose(self) -> None:
        """Hand on nothing more; what is still claimed expires."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._receiver = None

    async def _forever(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Repeat a step; while Redis is away it is tried again and again, and the first failure alone is news."""
        is_failing = False
        while True:
            try:
                await step()
                is_failing = False
            except (BackendUnavailable, *FAILURES) as exc:
                logger.log(logging.DEBUG if is_failing else logging.WARNING, "conversations cannot be shared now: %s", type(exc).__name__)
                is_failing = True
                await asyncio.sleep(_RETRY_SECONDS)

    async def _subscribe_and_read(self) -> None:
        """Subscribe to all channels and hand on what comes, until the connection fails or falls silent."""
        pubsub = self._connection.client.pubsub()
        try:
            async with self._commands:
                await pubsub.subscribe(*self._channels)
                self._pubsub = pubsub
            while (message := await pubsub.get_message(timeout=TURN_SECONDS)) is not None:
                await self._take(message["type"], message["channel"].decode(), message["data"])
            raise BackendUnavailable("not even the own pulse came")
        finally:
            self._pubsub = None
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # as the library declares it

    async def _take(self, kind: str, name: str, data: bytes) -> None:
        """Take one message of the subscription."""
        channel = self._channels.get(name)
        if kind == "subscribe":
            if channel is None:  # who wanted it has given up
                await self.detach(name.removeprefix(_CHANNEL))
            elif channel.confirmed.is_set() and channel.session_id:  # again, after an outage
                await self._catch_up(channel)
            else:
                channel.confirmed.set()
        elif kind == "message" and channel is not None and channel.session_id:
            text = data.decode()
            if text in _SIGNALS:
                self._hand_on_signal(channel, cast(Signal, text))
            else:
                number, event_type, text = text.split(" ", 2)
                self._hand_on(channel, Frame(int(number), event_type, text))

    async def _catch_up(self, channel: _Channel) -> None:
        """Hand on what came while nothing was heard."""
        try:
            for frame in (await self.missed(channel.session_id, channel.seq)).frames:
                self._hand_on(channel, frame)
        except NotFound:
            self._hand_on_signal(channel, "deleted")

    def _hand_on(self, channel: _Channel, frame: Frame) -> None:
        channel.seq = max(channel.seq, frame.seq)
        if self._receiver is not None:
            self._receiver.on_frame(channel.session_id, frame)

    def _hand_on_signal(self, channel: _Channel, signal: Signal) -> None:
        if self._receiver is not None:
            self._receiver.on_signal(channel.session_id, signal)

    async def _renew(self) -> None:
        """Keep the claims up, and send the pulse that shows whether this process' own subscription is alive."""
        await asyncio.sleep(_PULSE_SECONDS)
        await self._release_all()
        for session_id, turn_id in list(self._claims.items()):
            is_ours = await self._connection.run(_RENEW, [session_keys(session_id).turn], turn_id, _CLAIM_MS)
            if not is_ours and self._claims.get(session_id) == turn_id:  # else it has ended meanwhile
                logger.warning("a turn has lost its conversation to another server")
                del self._claims[session_id]
                self._hand_on_signal(_Channel(session_id), "stop")
        with translated():
            await self._connection.client.publish(self._pulse, "")

    async def _release_all(self) -> None:
        """Give back what has ended; raises BackendUnavailable."""
        for session_id, turn_id in list(self._unreleased):
            await self._connection.run(_RELEASE, [session_keys(session_id).turn], turn_id)
            self._unreleased.discard((session_id, turn_id))


async def _confirmed(channel: _Channel) -> None:
    """Wait for Redis to confirm a subscription; raises BackendUnavailable."""
    try:
        await asyncio.wait_for(channel.confirmed.wait(), TIMEOUT_SECONDS)
    except asyncio.TimeoutError:
        raise BackendUnavailable("the session store did not answer in time", retry_after_s=1) from None


def _channel_name(session_id: str) -> str:
    return f"{_CHANNEL}{session_id}"
