"""Write one message over the WebSocket and print the reply as it comes: `python websocket_client.py "I had a rough day"`.

Needs `pip install websockets`, and a server: `make serve`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid

from websockets.asyncio.client import connect


async def main(message: str, url: str = "ws://127.0.0.1:8080/v1/chat/ws") -> None:
    async with connect(url) as socket:
        await socket.send(json.dumps({"type": "hello"}))
        ready = json.loads(await socket.recv())
        print(ready["disclosure"])
        # A repeated client_id is not answered twice: after a lost connection, send it again.
        await socket.send(json.dumps({"type": "message", "text": message, "client_id": uuid.uuid4().hex}))
        async for text in socket:
            frame = json.loads(text)
            match frame["type"]:
                case "emotion":
                    print("emotions:", ", ".join(f"{found['label']} {found['score']:.2f}" for found in frame["emotions"]))
                case "safety":
                    print("help:", "; ".join(f"{found['name']}: {found['contact']}" for found in frame["resources"]))
                case "delta":
                    print(frame["text"], end="", flush=True)
                case "done":
                    print(f"\nstate: {frame['trajectory']['state']}, finished by: {frame['finish_reason']}")
                    return
                case "error":
                    sys.exit(frame["error"]["message"])


asyncio.run(main(*sys.argv[1:]))
