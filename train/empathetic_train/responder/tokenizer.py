"""The responder's tokenizer: byte-level BPE, trained on the run's own texts, so that any text can be written and read back.

Knows the special tokens and the template of `chat`, and no data.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ..errors import CheckpointError
from .chat import END, PAD, SPECIAL_TOKENS, TEMPLATE


def train_tokenizer(texts: Iterable[str], *, vocabulary: int, window: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer of at most `vocabulary` pieces for a model of `window` tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token not in (END, PAD)],
        chat_template=TEMPLATE,
        model_max_length=window,
        clean_up_tokenization_spaces=False,  # or "he 's" would not be read back as it was written
    )


def load_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """Read what `save_pretrained` wrote.

    Raises:
        CheckpointError: it is missing or malformed.
    """
    try:
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
    except Exception as exc:  # tokenizers raises bare exceptions
        raise CheckpointError(f"tokenizer in {directory}: {' '.join(str(exc).split())}") from exc
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """Return the tokens of texts that may hold special tokens."""
    return [row.ids for row in tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
