"""Tiny random base models and invented GoEmotions-like data, built in code. Knows neither training nor export.

`build_base` writes a Hugging Face directory that `AutoModel` and `AutoTokenizer` load; `write_data` writes the four
files that `empathetic-train --data` reads. Both are the same for the same seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

Family = Literal["bert", "roberta", "deberta"]

# Each label's words, so that a model of 30,000 parameters has something to learn.
WORDS = {
    "admiration": "brilliant masterful splendid",
    "amusement": "hilarious giggling comical",
    "anger": "furious outraged fuming",
    "annoyance": "irritating tiresome grating",
    "approval": "agreed correct endorsed",
    "caring": "cherish nurturing comfort",
    "confusion": "baffled puzzling unclear",
    "curiosity": "wondering intrigued asking",
    "desire": "craving longing wishing",
    "disappointment": "letdown underwhelming shortfall",
    "disapproval": "objectionable unacceptable rejected",
    "disgust": "revolting nauseating rotten",
    "embarrassment": "blushing awkward mortified",
    "excitement": "thrilling electrifying pumped",
    "fear": "terrified dreadful trembling",
    "gratitude": "thankful grateful indebted",
    "grief": "mourning bereaved funeral",
    "joy": "delighted cheerful gleeful",
    "love": "adore darling devoted",
    "nervousness": "anxious jittery restless",
    "optimism": "hopeful promising brighter",
    "pride": "proud accomplished triumphant",
    "realization": "noticed suddenly understood",
    "relief": "relieved finally unburdened",
    "remorse": "sorry regretful apologies",
    "sadness": "gloomy tearful lonely",
    "surprise": "astonished unexpected startled",
    "neutral": "table window parcel",
}
LABELS = tuple(WORDS)
_TEMPLATES = (
    "the {0} walk home felt long",
    "my neighbour was {0} about the garden gate",
    "{0}",
    "what a {0} afternoon by the river, she said",
    "we talked about the {0} train and then, as the evening went on, about nothing else at all",
    "that cake is {0}!",
    "[NAME] looked {0} when the kettle broke",
    "is this letter {0} or only late?",
)


def sentences(count: int, seed: int = 0) -> Iterator[tuple[str, list[int]]]:
    """Yield invented texts with the ids of their one or two labels; every label occurs once in each 28 texts."""
    generator = random.Random(seed)  # noqa: S311  # test data, not a secret
    for row in range(count):
        ids = [row % len(LABELS)]
        if generator.random() < 0.2:
            ids = sorted({*ids, generator.randrange(len(LABELS))})
        words = " and ".join(generator.choice(WORDS[LABELS[index]].split()) for index in ids)
        yield f"{generator.choice(_TEMPLATES).format(words)} {generator.randrange(1000)}", ids


def write_data(directory: Path, *, train: int = 280, dev: int = 112, test: int = 112, repeated: int = 1, seed: int = 0) -> Path:
    """Write `train.tsv`, `dev.tsv`, `test.tsv` and `labels.txt`.

    Args:
        directory: made when missing.
        train: number of training texts; `dev` and `test` likewise.
        dev: see `train`.
        test: see `train`.
        repeated: how many test texts are copies of training texts, labels included.
        seed: decides the texts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
    rows = list(sentences(train + dev + test, seed))
    splits = {"train": rows[:train], "dev": rows[train : train + dev], "test": rows[train + dev :]}
    splits["test"][:repeated] = splits["train"][:repeated]
    for split, chosen in splits.items():
        lines = (f"{text}\t{','.join(map(str, ids))}\t{split}{row}\n" for row, (text, ids) in enumerate(chosen))
        (directory / f"{split}.tsv").write_text("".join(lines), encoding="utf-8", newline="\n")
    return directory


def build_base(directory: Path, family: Family, seed: int = 0) -> Path:
    """Save a base model of 2 layers, hidden size 32 and a vocabulary of at most 400, with its fast tokenizer."""
    import torch  # noqa: PLC0415  # tests that only want `write_data` need no torch
    from transformers import AutoModel  # noqa: PLC0415

    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoModel.from_config(_config(family, tokenizer)).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def _config(family: Family, tokenizer: Any) -> Any:
    from transformers import BertConfig, DebertaConfig, RobertaConfig  # noqa: PLC0415

    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "pad_token_id": tokenizer.pad_token_id,
    }
    match family:
        case "bert":
            return BertConfig(**common, max_position_embeddings=128)
        case "roberta":  # its positions start behind the padding id
            bounds = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
            return RobertaConfig(**common, **bounds, max_position_embeddings=130, type_vocab_size=1, layer_norm_eps=1e-5)
        case "deberta":  # as microsoft/deberta-base: relative positions alone
            return DebertaConfig(
                **common,
                max_position_embeddings=128,
                type_vocab_size=0,
                relative_attention=True,
                position_biased_input=False,
                pos_att_type=["c2p", "p2c"],
            )


def _tokenizer(family: Family) -> Any:
    from tokenizers import ByteLevelBPETokenizer  # noqa: PLC0415
    from tokenizers.implementations import BertWordPieceTokenizer  # noqa: PLC0415
    from tokenizers.processors import TemplateProcessing  # noqa: PLC0415
    from transformers import BertTokenizerFast, DebertaTokenizerFast, RobertaTokenizerFast  # noqa: PLC0415

    corpus = [text for text, _ in sentences(560)]
    pieces = BertWordPieceTokenizer(lowercase=True) if family == "bert" else ByteLevelBPETokenizer()
    first, last = ("<s>", "</s>") if family == "roberta" else ("[CLS]", "[SEP]")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if family == "roberta" else ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces.train_from_iterator(corpus, vocab_size=400, min_frequency=1, show_progress=False, special_tokens=special)
    ends = [(token, pieces.token_to_id(token)) for token in (first, last)]
    fast = pieces._tokenizer
    fast.post_processor = TemplateProcessing(single=f"{first} $A {last}", pair=f"{first} $A {last} $B:1 {last}:1", special_tokens=ends)
    kinds = {"bert": BertTokenizerFast, "roberta": RobertaTokenizerFast, "deberta": DebertaTokenizerFast}
    return kinds[family](tokenizer_object=fast, model_max_length=128)
