"""The written replies as an engine: the one that always answers. Reads the plan, not the prompt."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence

from ..errors import BackendUnavailable
from ..written_replies import write_reply
from .protocols import ChatMessage, Chunk, GenerationRequest, PromptStyle


class WrittenGenerator:
    """Streams a written reply word by word."""

    name = "written"
    context_tokens = 1_000_000  # nothing is read but the plan
    prompt_style: PromptStyle = "instructions"

    def __init__(self) -> None:
        self._closed = False

    def count_tokens(self, text: str) -> int:
        """Return the number of words."""
        return len(text.split())

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Write a reply; see `ReplyGenerator`."""
        if self._closed:
            raise BackendUnavailable("the written replies are closed", retry_after_s=1)
        for word in re.findall(r"\S+\s*", write_reply(request.plan)):
            yield Chunk(word)
        yield Chunk("", "stop")

    async def log_likelihoods(self, messages: Sequence[ChatMessage], replies: Sequence[str]) -> None:
        """Return None: no model is asked."""

    async def ready(self) -> bool:
        """Whether it is open."""
        return not self._closed

    async def aclose(self) -> None:
        """Stop answering."""
        self._closed = True
