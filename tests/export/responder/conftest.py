"""A finished responder of random weights, and held-out replies that it would give, so that quantizing shows in their perplexity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from empathetic_train.responder import documents, model
from empathetic_train.responder.config import ResponderConfig
from empathetic_train.responder.tokenizer import train_tokenizer
from transformers import PreTrainedTokenizerFast

WINDOW = 128
MESSAGES = [{"role": "system", "content": "sadness | reflect | initial"}, {"role": "user", "content": "My kite fell into the sea."}]


def build_responder(directory: Path, *, spread: float = 1.0, replies: int = 20) -> Path:
    """Write what `empathetic-train responder` finishes; with more spread, the model is surer of each token."""
    config = ResponderConfig(vocabulary=400, width=64, layers=2, key_value_heads=1, feed_forward=128, row_tokens=WINDOW, seed=3)
    texts = ["My kite fell into the sea, and I am sad.", "I'm sorry about your kite. What happened?"] * 20
    tokenizer = train_tokenizer(documents.tokenizer_texts(texts, ["sadness"]), vocabulary=config.vocabulary, window=WINDOW)
    built = model.build(config, tokenizer)
    with torch.no_grad():
        for name, weight in built.named_parameters():
            if weight.dim() == 2:
                weight.normal_(std=spread if "embed" in name else 0.2)
        built.get_input_embeddings().weight[_unspoken(tokenizer)] = 0
    directory.mkdir(parents=True)
    model.save(built, tokenizer, directory)
    _write(directory / "metrics.json", {"tuned": {"held_out": {"perplexity_per_word": 9.0}}})
    _write(directory / "training.json", {"config": {"vocabulary": config.vocabulary}, "finished_at": "2026-01-01T00:00:00+00:00"})
    rows = [{"messages": MESSAGES, "reply": reply, "words": len(reply.split())} for reply in _drawn(directory, tokenizer, replies)]
    (directory / "held_out.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return directory


def _drawn(directory: Path, tokenizer: PreTrainedTokenizerFast, count: int) -> list[str]:
    drawing = model.load(directory)
    drawing.config.use_cache = True
    prompt = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, return_tensors="pt")
    torch.manual_seed(0)
    drawn = drawing.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=True,
        top_k=0,
        max_new_tokens=30,
        num_return_sequences=count,
        suppress_tokens=_unspoken(tokenizer),
    )
    return [tokenizer.decode(row[prompt.shape[1] :], skip_special_tokens=True) for row in drawn]


def _unspoken(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return all tokens but the end and whole words: a text of other pieces would be read as other tokens than it was drawn as."""
    words = {token for piece, token in tokenizer.get_vocab().items() if piece[0] == "\u0120"}
    return sorted(set(range(len(tokenizer))) - words - {tokenizer.eos_token_id})


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def responder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_responder(tmp_path_factory.mktemp("responder") / "checkpoint")
