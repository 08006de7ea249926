"""Texts to token ids, as every engine of the classifier needs them. Knows no engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..errors import ArtifactError
from .manifest import Manifest

# Tokenizing is over fifty times as fast as the model: two threads keep any number of cores busy, and let a short text
# overtake the tokenization of a long one.
_THREADS = 2
# So many characters take a tenth of a millisecond, hardly more than the way to another thread and back costs the event loop.
_CHARS_AT_ONCE = 256


class WindowTokenizer:
    """Tokenizes, what is not short in threads of its own, and cuts to the model's window.

    Args:
        manifest: the verified artifact.

    Raises:
        ArtifactError: `tokenizers` cannot load the file.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._window = manifest.max_length
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_file(str(manifest.tokenizer_path))
        except Exception as exc:  # the Rust library raises bare Exception
            raise ArtifactError(f"{manifest.tokenizer_path}: {exc}; export again with `make export`") from exc
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tokenize")

    async def tokenize(self, texts: Sequence[str], timeout_s: float) -> tuple[list[NDArray[np.int64]], tuple[bool, ...]]:
        """Return the token ids of each text, special ones included, and which texts were cut; raises asyncio.TimeoutError."""
        if sum(map(len, texts)) <= _CHARS_AT_ONCE:
            return self._tokenize(texts)
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(self._threads, self._tokenize, texts), timeout_s)

    def close(self) -> None:
        """Drop what waits."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _tokenize(self, texts: Sequence[str]) -> tuple[list[NDArray[np.int64]], tuple[bool, ...]]:
        """Cut to the window.

        It keeps the last token, the closing special one, exactly as the tokenizer's own truncation does, which is not
        used because it would build an object for every window of the part that is thrown away.
        """
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        truncated = tuple(len(encoding) > self._window for encoding in encodings)
        ids = [
            np.array(encoding.ids if not cut else encoding.ids[: self._window - 1] + encoding.ids[-1:], dtype=np.int64)
            for encoding, cut in zip(encodings, truncated, strict=True)
        ]
        return ids, truncated
