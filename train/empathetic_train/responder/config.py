"""The one configuration object of a responder run. Knows nothing of torch, and touches no file."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..config import option, refuse_first

# What attention kernels of vLLM and onnxruntime-genai all have.
HEAD_WIDTH = 64
# Every byte is a piece, and there must be room for some that are longer.
MIN_VOCABULARY = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponderConfig:
    """Everything that decides a responder run."""

    data: str | None = option(None, "directory with dialogue/ and books/ (needed)")
    checkpoint_dir: str = option("checkpoints/responder", "where the trained model goes; an unfinished run in it is resumed")
    cache_dir: str = option("~/.cache/empathetic-ai/responder", "where the emotions of the data are kept between runs")
    classifier: str = option("model_repository/emotion_classifier", "the exported classifier that finds the emotions of the data")
    vocabulary: int = option(6000, "pieces of the tokenizer, special tokens included")
    width: int = option(256, f"width of the model, a multiple of {HEAD_WIDTH}, the width of an attention head")
    layers: int = option(6, "layers of the model")
    key_value_heads: int = option(2, "key and value heads, a divisor of the heads")
    feed_forward: int = option(704, "width of the feed-forward layers")
    row_tokens: int = option(512, "tokens of a training row, and the model's window")
    batch_rows: int = option(8, "rows per step")
    book_characters: int = option(8_000_000, "characters of the books to pre-train on, drawn evenly from all of them")
    task_dialogues: int = option(5_000, "task dialogues (schema-guided) to pre-train on")
    pretrain_epochs: float = option(1.5, "passes over all texts")
    pretrain_learning_rate: float = option(3e-3, "peak learning rate of pre-training")
    tune_epochs: float = option(2.0, "passes over the supportive replies")
    tune_learning_rate: float = option(1e-3, "peak learning rate of fine-tuning")
    optimizer: str = option("muon", "what updates the layers' matrices", choices=("muon", "adamw"))
    warmup_ratio: float = option(0.03, "share of a stage's steps in which the learning rate rises")
    weight_decay: float = option(0.1, "weight decay (not on norms)")
    dropout: float = option(0.0, "dropout of the attention's weights")
    held_out_percent: int = option(3, "percent of the EmpatheticDialogues training conversations that are held out, in whole HITs")
    evaluate_test: bool = option(False, "also measure EmpatheticDialogues' test split: for a final report, never for a choice")
    compile: bool = option(True, "compile the model (a processor needs a C++ compiler for it; without one the run goes on without)")
    threads: int = option(0, "processor cores to train on; 0 for all")
    save_minutes: float = option(5.0, "minutes between two checkpoints, at most")
    seed: int = option(1, "seed of initialization, order and examples")
    force_train: bool = option(False, "train although checkpoint-dir holds a finished model")
    disable_tensorboard: bool = option(False, "write no TensorBoard logs")

    def __post_init__(self) -> None:
        """Refuse values outside their range.

        Raises:
            ConfigError: naming the first field that is wrong.
        """
        positive = ("width", "layers", "key_value_heads", "feed_forward", "batch_rows", "pretrain_learning_rate", "tune_learning_rate")
        checks = [(name, 0 < getattr(self, name) < math.inf, "must be above 0") for name in (*positive, "tune_epochs", "save_minutes")]
        natural = ("book_characters", "task_dialogues", "pretrain_epochs", "weight_decay", "threads")
        checks += [(name, 0 <= getattr(self, name) < math.inf, "must be 0 or above") for name in natural]
        checks += [(name, 0 <= getattr(self, name) < 1, "must be 0 or above, and below 1") for name in ("warmup_ratio", "dropout")]
        checks += [
            ("vocabulary", MIN_VOCABULARY <= self.vocabulary <= 2**16, f"must be between {MIN_VOCABULARY} and {2**16}"),
            ("width", self.width % HEAD_WIDTH == 0, f"must be a multiple of {HEAD_WIDTH}"),
            ("key_value_heads", (self.width // HEAD_WIDTH) % self.key_value_heads == 0, "must divide the number of heads"),
            ("row_tokens", self.row_tokens >= 32, "must be 32 or above"),
            ("held_out_percent", 1 <= self.held_out_percent <= 50, "must be between 1 and 50"),
            ("seed", 0 <= self.seed < 2**32, "must be between 0 and 2**32 - 1"),
        ]
        checks += [("optimizer", self.optimizer in ("muon", "adamw"), "must be one of muon, adamw")]
        refuse_first(self, checks)
