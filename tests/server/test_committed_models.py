"""The classifiers that are committed, each in a server as `make serve` starts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from empathetic_server import Settings

from tests.server.chatting import running

pytestmark = pytest.mark.anyio
SENTENCES = {
    "Thank you so much for your help!": "gratitude",
    "I miss my grandmother every single day.": "sadness",
    "I'm scared of what the doctor will say tomorrow.": "fear",
    "The train leaves at nine from platform four.": "neutral",
}


@pytest.mark.parametrize("name", ["model_repository", "models/fast"])
async def test_it_reads_plain_sentences_and_raises_no_alarm_over_them(root: Path, name: str) -> None:
    settings = Settings(port=0, page=False, sessions="memory://", model_repository=root / name)
    async with running(settings=settings, classifier=None) as at:
        answer = (await at.http.post("/v1/emotions", json={"input": list(SENTENCES)})).json()
        chat = (await at.http.post("/v1/chat", json={"message": "I miss my grandmother every single day."})).json()
    assert [found["primary"] for found in answer["data"]] == list(SENTENCES.values())
    assert (chat["emotion"]["primary"], chat["safety"]["level"]) == ("sadness", "none")
