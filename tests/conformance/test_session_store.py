"""What every `SessionStore` must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from empathetic_server.errors import BackendUnavailable, NotFound, Overloaded
from empathetic_server.sessions import MemorySessions, SessionStore, session_store
from empathetic_server.sessions.protocols import Feedback, Message, Session, now

from tests.redises import Redis, redis_server

pytestmark = pytest.mark.anyio
EMOTION = {"primary": "sadness", "valence": -0.9, "emotions": [{"label": "sadness", "score": 0.9}]}
LONG_AGO, SOON = "2001-01-01T00:00:00.000Z", "9999-01-01T00:00:00.000Z"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A real Redis; each test has it empty."""
    with redis_server(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionStore]:
    if request.param == "redis":
        request.getfixturevalue("redis").flush()
        url = request.getfixturevalue("redis").url
    else:
        url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/folder/sessions.db"
    built = session_store(url)
    await built.open()
    assert built.name == request.param
    yield built
    await built.aclose()


async def finish(store: SessionStore, message_id: str, reply: Message, **fields: Any) -> None:
    defaults: dict[str, Any] = {"emotion": None, "safety": None, "disclosed_at": None, "last_seq": 0}
    await store.finish_turn("s", message_id, reply, **{**defaults, **fields})


async def begin(store: SessionStore, *texts: str) -> None:
    """Make the session s, whose messages u0, r0, u1, r1, … have these texts, the user's first."""
    await store.create(Session("s", "Hi.", updated_at=LONG_AGO))
    for index, text in enumerate(texts):
        if index % 2 == 0:
            await store.add_user_message("s", Message(f"u{index // 2}", "user", text), last_seq=index)
        else:
            await finish(store, f"u{index // 2}", Message(f"r{index // 2}", "assistant", text))


def names(messages: tuple[Message, ...]) -> list[str]:
    return [message.message_id for message in messages]


async def test_everything_comes_back_as_it_was_stored(store: SessionStore) -> None:
    session = Session("s", "Hi.", created_at=now(), updated_at=LONG_AGO, user_name="Zoë", disclosed_at=now(), last_seq=3)
    asked = Message("u0", "user", "I miss you 💔\nso much " + "x" * 8000, client_id="c1")
    reply = Message("r0", "assistant", "I'm sorry.", finish_reason="stop", strategy="reflect")
    await store.create(session)
    assert (await store.load("s")).session == session
    assert await store.add_user_message("s", asked, last_seq=4) == asked
    await finish(store, "u0", reply, emotion=EMOTION, safety="concern", last_seq=9)
    kept = await store.load("s")
    user, assistant = kept.messages
    assert (user.text, user.client_id, user.created_at) == (asked.text, "c1", asked.created_at)
    assert (user.emotion, user.safety, assistant) == (EMOTION, "concern", reply)
    assert (kept.session.last_seq, kept.session.disclosed_at, kept.session.user_name) == (9, session.disclosed_at, "Zoë")
    assert kept.session.updated_at > LONG_AGO


UNKNOWN: dict[str, Callable[[SessionStore], Awaitable[Any]]] = {
    "load": lambda store: store.load("nobody"),
    "add": lambda store: store.add_user_message("nobody", Message("u", "user", "x"), last_seq=1),
    "edit": lambda store: store.edit_user_message("nobody", "u", "x", last_seq=1),
    "finish": lambda store: store.finish_turn(
        "nobody", "u", Message("r", "assistant", "x"), emotion=None, safety=None, disclosed_at=None, last_seq=1
    ),
    "name": lambda store: store.set_user_name("nobody", "Ana"),
    "seq": lambda store: store.set_last_seq("nobody", 1),
    "feedback": lambda store: store.add_feedback("nobody", Feedback("u", "up")),
    "delete": lambda store: store.delete("nobody"),
}


@pytest.mark.parametrize("call", UNKNOWN.values(), ids=UNKNOWN)
async def test_an_unknown_session_is_not_found(store: SessionStore, call: Callable[[SessionStore], Awaitable[Any]]) -> None:
    with pytest.raises(NotFound, match="no such session"):
        await call(store)


@pytest.mark.parametrize("call", UNKNOWN.values(), ids=UNKNOWN)
async def test_a_closed_store_is_unavailable(store: SessionStore, call: Callable[[SessionStore], Awaitable[Any]]) -> None:
    assert await store.ready()
    await store.aclose()
    await store.aclose()
    assert not await store.ready()
    with pytest.raises(BackendUnavailable):
        await call(store)


async def test_a_repeated_client_id_gives_the_first_message_also_when_both_come_at_once(store: SessionStore) -> None:
    await begin(store)
    repeats = [Message(f"u{i}", "user", f"text {i}", client_id="same") for i in range(5)]
    stored = await asyncio.gather(*(store.add_user_message("s", message, last_seq=i) for i, message in enumerate(repeats)))
    other = await store.add_user_message("s", Message("v", "user", "other", client_id="other"), last_seq=9)
    assert {message.message_id for message in stored} == {stored[0].message_id}
    assert names((await store.load("s")).messages) == [stored[0].message_id, other.message_id]


async def test_the_same_client_id_in_another_session_is_another_message(store: SessionStore) -> None:
    for session_id in ("a", "b"):
        await store.create(Session(session_id, "Hi."))
        await store.add_user_message(session_id, Message(f"u-{session_id}", "user", "x", client_id="c"), last_seq=1)
    assert names((await store.load("b")).messages) == ["u-b"]


async def test_an_edit_clears_what_was_found_and_drops_what_followed_with_its_feedback(store: SessionStore) -> None:
    await begin(store, "one", "reply one", "two", "reply two", "three")
    await store.add_feedback("s", Feedback("r0", "up"))
    await store.add_feedback("s", Feedback("r1", "down", "too long"))
    await finish(store, "u1", Message("r1", "assistant", "again"), emotion=EMOTION, safety="high")
    edited = await store.edit_user_message("s", "u1", "deux", last_seq=77)
    kept = await store.load("s")
    assert (edited.text, edited.emotion, edited.safety) == ("deux", None, None)
    assert kept.messages[-1] == edited
    assert names(kept.messages) == ["u0", "r0", "u1"]
    assert [given.message_id for given in kept.feedback] == ["r0"]
    assert kept.session.last_seq == 77


@pytest.mark.parametrize("message_id", ["r0", "nobody"])
async def test_only_a_users_message_can_be_edited_or_answered(store: SessionStore, message_id: str) -> None:
    await begin(store, "one", "reply one")
    before = await store.load("s")
    with pytest.raises(NotFound, match="no such message"):
        await store.edit_user_message("s", message_id, "x", last_seq=99)
    with pytest.raises(NotFound, match="no such message"):
        await finish(store, message_id, Message("r9", "assistant", "x"), last_seq=99)
    assert await store.load("s") == before


async def test_finishing_again_replaces_the_reply_and_what_followed(store: SessionStore) -> None:
    await begin(store, "one", "reply one", "two", "reply two")
    await store.add_feedback("s", Feedback("r0", "up"))
    await finish(store, "u0", Message("r9", "assistant", "better"))
    kept = await store.load("s")
    assert (names(kept.messages), kept.feedback) == (["u0", "r9"], ())


async def test_the_time_of_disclosure_changes_only_when_it_is_given(store: SessionStore) -> None:
    await begin(store, "one")
    before = (await store.load("s")).session.disclosed_at
    await finish(store, "u0", Message("r0", "assistant", "x"))
    assert (await store.load("s")).session.disclosed_at == before
    await finish(store, "u0", Message("r1", "assistant", "x"), disclosed_at=SOON)
    assert (await store.load("s")).session.disclosed_at == SOON


async def test_the_frame_number_only_rises(store: SessionStore) -> None:
    await begin(store, "one")
    for number in (5, 3):
        await store.set_last_seq("s", number)
        assert (await store.load("s")).session.last_seq == 5


async def test_the_name_is_set_and_erased(store: SessionStore) -> None:
    await begin(store)
    for name in ("Ana", "Zoë", None):
        await store.set_user_name("s", name)
        assert (await store.load("s")).session.user_name == name


async def test_feedback_replaces_an_earlier_one_and_needs_its_message(store: SessionStore) -> None:
    await begin(store, "one", "reply one")
    await store.add_feedback("s", Feedback("r0", "up"))
    second = Feedback("r0", "down", "not kind")
    await store.add_feedback("s", second)
    with pytest.raises(NotFound, match="no such message"):
        await store.add_feedback("s", Feedback("nobody", "up"))
    assert (await store.load("s")).feedback == (second,)


async def test_a_deleted_session_is_gone_and_others_stay(store: SessionStore) -> None:
    await begin(store, "one", "reply one")
    await store.create(Session("other", "Hi."))
    await store.delete("s")
    with pytest.raises(NotFound):
        await store.load("s")
    assert (await store.load("other")).session.session_id == "other"


async def test_a_purge_deletes_what_is_older_and_says_how_many(store: SessionStore) -> None:
    for index in range(3):
        await store.create(Session(f"old{index}", "Hi.", updated_at=LONG_AGO))
    await store.create(Session("touched", "Hi.", updated_at=LONG_AGO))
    await store.add_user_message("touched", Message("u", "user", "x"), last_seq=1)
    assert await store.purge("2020-01-01T00:00:00.000Z") == 3
    assert await store.purge("2020-01-01T00:00:00.000Z") == 0
    assert names((await store.load("touched")).messages) == ["u"]


async def test_many_sessions_at_once_keep_their_own_order(store: SessionStore) -> None:
    async def talk(session_id: str) -> None:
        await store.create(Session(session_id, "Hi."))
        for index in range(5):
            await store.add_user_message(session_id, Message(f"{session_id}-{index}", "user", str(index)), last_seq=index)

    await asyncio.gather(*(talk(f"s{i}") for i in range(8)))
    for i in range(8):
        assert [message.text for message in (await store.load(f"s{i}")).messages] == list("01234")


async def test_memory_refuses_more_sessions_than_it_may_hold() -> None:
    store = MemorySessions(max_sessions=1)
    await store.create(Session("a", "Hi."))
    with pytest.raises(Overloaded):
        await store.create(Session("b", "Hi."))
    await store.delete("a")
    await store.create(Session("b", "Hi."))
