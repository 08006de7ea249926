"""One turn from its request to its last frame, whatever happens on the way. Knows the relay, but no listener and no other turn."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import cast

from . import logs
from .chat import ChatService, Edit, Recover, Say, new_reply_id
from .errors import BackendUnavailable, EmpatheticError, InternalError, NotFound, SessionBusy
from .events import Ack, Delta, Done, Event, FinishReason
from .frames import Frame, LiveSession, Turn
from .metrics import Metrics
from .relays.protocols import Relay
from .responder import Detected, trajectory_of
from .sessions.protocols import writing_turn
from .trajectory import follow

logger = logging.getLogger(__name__)

# When a turn could not go on because the other processes cannot be reached, it is tried again so soon, and then again.
RETRY_SECONDS = 1.0
_NO_TIMINGS = {"classify_ms": None, "first_token_ms": None, "total_ms": None}


class _Interrupted(Exception):
    """What happens cannot be told to anybody now."""


class TurnRunner:
    """Runs the turns of one process.

    Args:
        chat: answers and stores.
        metrics: where turns that failed are counted, and what turns wait for.
    """

    def __init__(self, chat: ChatService, metrics: Metrics) -> None:
        self._chat = chat
        self._metrics = metrics

    async def run(self, session: LiveSession, turn: Turn, relay: Relay) -> None:
        """Run a turn to its end; its `accepted` and `done` are set, and the session is free again, when this returns."""
        session_id = session.session_id
        writing_turn.set(turn.turn_id)
        last: Frame | None = None
        try:
            if not await relay.claim(session_id, turn.turn_id):
                raise SessionBusy("a turn is running in this session")
            last = await self._detect_and_answer(session, turn, relay)
        except EmpatheticError as exc:
            turn.accepted.set_exception(exc)
        except Exception:  # a defect of ours: who waits is told, and the other sessions go on
            logger.exception("a turn could not be run")
            if not turn.accepted.done():
                turn.accepted.set_exception(InternalError("an internal error; the log has it"))
        finally:
            try:
                await relay.release(session_id, turn.turn_id)
            finally:
                session.turn = None
                session.keep_turn()
                turn.done.set_result(last)

    async def _detect_and_answer(self, session: LiveSession, turn: Turn, relay: Relay) -> Frame | None:
        """Have a new text read by the classifier while it is being stored; nothing of what comes out is told before it is."""
        if not isinstance(turn.request, Say | Edit):
            return await self._accept_and_answer(session, turn, relay, None)
        detecting = await self._chat.responder.detect(turn.request.text)
        try:
            return await self._accept_and_answer(session, turn, relay, detecting)
        finally:
            detecting.cancel()

    async def _accept_and_answer(
        self, session: LiveSession, turn: Turn, relay: Relay, detecting: asyncio.Task[Detected] | None
    ) -> Frame | None:
        """Return the turn's last frame, if there was one; raises EmpatheticError when the message was not accepted."""
        session_id = session.session_id
        try:
            with self._metrics.accept_seconds.time():
                accepted = await self._chat.accept(session_id, turn.request, seq=relay.next_seq(session_id))
        except NotFound:
            if not isinstance(turn.request, Recover) or (ending := await self._untold_ending(session_id)) is None:
                raise
            turn.is_ending = True
            last = await relay.publish(session_id, ending, turn.turn_id)
            turn.accepted.set_result(last)
            return last
        message = accepted.message
        try:
            ack = await relay.publish(session_id, Ack(message.client_id, message.message_id, duplicate=accepted.is_known), turn.turn_id)
        except BackendUnavailable:
            self._retry_soon(session)  # it is stored, though nobody was told
            raise
        turn.accepted.set_result(ack)
        if accepted.is_known:  # its text is the stored one, whatever was sent this time
            detecting = None
        return await self._answer(session, turn, relay, message.message_id, detecting) if accepted.is_waiting else None

    async def _answer(
        self, session: LiveSession, turn: Turn, relay: Relay, message_id: str, detecting: asyncio.Task[Detected] | None
    ) -> Frame | None:
        """Publish what happens until the reply is stored; a defect ends the turn with `error`, never without an end."""
        session_id = session.session_id
        reply_id = new_reply_id()
        shown: list[str] = []

        async def publish(event: Event) -> Frame:
            turn.is_ending = isinstance(event, Done)
            try:
                with self._metrics.publish_seconds.time():
                    return await relay.publish(session_id, event, turn.turn_id)
            except BackendUnavailable as exc:
                raise _Interrupted from exc

        try:
            try:
                happenings = self._chat.reply(
                    session_id,
                    message_id,
                    reply_id,
                    stop=turn.stop,
                    detecting=detecting,
                    next_seq=lambda: relay.next_seq(session_id),
                )
                async with aclosing(happenings):
                    async for event in happenings:
                        if isinstance(event, Delta):
                            shown.append(event.text)
                        frame = await publish(event)
                        if isinstance(event, Done):
                            return frame
            except (SessionBusy, _Interrupted):
                raise
            except EmpatheticError as exc:
                logger.warning("a turn failed: %s", exc.message)
            except Exception:  # a defect of ours, as above
                logger.exception("a turn failed")
            self._metrics.turns.labels("error").inc()
            return await publish(Done(message_id, reply_id, "".join(shown), "error", follow(()).as_dict(), _NO_TIMINGS))
        except (SessionBusy, NotFound) as exc:  # another process answers, or the session was deleted
            logger.info("a turn has ended elsewhere: %s", exc.message)
        except _Interrupted:
            self._metrics.turns.labels("error").inc()
            error = BackendUnavailable("the conversation is interrupted, and goes on when its store is back", retry_after_s=1)
            session.hand_on(Frame.of_error(error, logs.request_id.get()))
            self._retry_soon(session)
        return None

    async def _untold_ending(self, session_id: str) -> Done | None:
        """Return the end of a turn whose process died, or was cut off, after the reply was stored and before anybody was told."""
        messages = (await self._chat.store(session_id).load(session_id)).messages
        if len(messages) < 2:
            return None
        message, reply = messages[-2:]
        finish_reason = cast(FinishReason, reply.finish_reason)
        trajectory = trajectory_of(messages).as_dict()
        return Done(message.message_id, reply.message_id, reply.text, finish_reason, trajectory, _NO_TIMINGS)

    def _retry_soon(self, session: LiveSession) -> None:
        session.check_at = asyncio.get_running_loop().time() + RETRY_SECONDS
