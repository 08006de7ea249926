"""A process that stores turns until it is killed: prints what is acknowledged, when it is. `python session_writer.py FILE`."""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from empathetic_server.sessions import session_store
from empathetic_server.sessions.protocols import Message, Session


def tell(acknowledged: str) -> None:
    sys.stdout.write(f"{acknowledged}\n")
    sys.stdout.flush()


async def write_forever(path: str) -> None:
    store = session_store(f"sqlite:///{path}")
    await store.open()
    await store.create(Session("s", "Hi."))
    for number in count():
        await store.add_user_message("s", Message(f"u{number}", "user", "text", client_id=f"c{number}"), last_seq=number)
        tell(f"u{number}")
        await store.finish_turn(
            "s",
            f"u{number}",
            Message(f"r{number}", "assistant", "reply"),
            emotion={"n": number},
            safety=None,
            disclosed_at=None,
            last_seq=number,
        )
        tell(f"r{number}")


asyncio.run(write_forever(sys.argv[1]))
