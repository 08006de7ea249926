"""Ask through OpenAI's own client: `python openai_client.py "I had a rough day"`.

Needs `pip install openai`, and a server: `make serve`.
"""

from __future__ import annotations

import sys

from openai import OpenAI


def main(message: str, url: str = "http://127.0.0.1:8080/v1") -> None:
    client = OpenAI(base_url=url, api_key="none")
    stream = client.chat.completions.create(model="empathetic-chat", messages=[{"role": "user", "content": message}], stream=True)
    for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
        if chunk.choices[0].finish_reason:
            emotion = chunk.model_extra["empathetic"]["emotion"]
            print(f"\nprimary emotion: {emotion['primary'] if emotion else 'unknown'}")


main(*sys.argv[1:])
