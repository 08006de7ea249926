"""The responder from training through export into the server's own generator."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import pytest
from empathetic_export.responder.pipeline import export_responder
from empathetic_server.engines.genai_generator import GenaiGenerator
from empathetic_server.engines.protocols import ChatMessage, GenerationRequest, Sampling
from empathetic_server.strategies import ReplyPlan
from empathetic_train.config import read_recipe
from empathetic_train.responder.config import ResponderConfig
from empathetic_train.responder.run import run
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests import tiny_dialogues

pytestmark = pytest.mark.filterwarnings("ignore:mtime may not be reliable:UserWarning")
MESSAGES = [{"role": "system", "content": "sadness | reflect | initial"}, {"role": "user", "content": "I lost my kite."}]


def test_what_was_trained_is_what_the_server_says(root: Path, tmp_path: Path) -> None:
    # A window in which training need not shorten any context.
    recipe = read_recipe(root / "train" / "recipes" / "responder-tiny.toml", ResponderConfig) | {"row_tokens": 256}
    data = tiny_dialogues.write_dialogues(tmp_path / "data")
    checkpoint = tmp_path / "checkpoint"
    places = {"data": str(data), "checkpoint_dir": str(checkpoint), "cache_dir": str(tmp_path / "cache")}
    figures = json.loads(
        run(ResponderConfig(**recipe, **places, classifier=str(root / "model_repository" / "emotion_classifier"))).read_text()
    )
    (tmp_path / "scratch").mkdir()
    manifest = export_responder(checkpoint, output=tmp_path / "responder", scratch=tmp_path / "scratch", report=print)
    # Both measured the same replies in the same way, training in packed rows.
    for name in ("perplexity_per_token", "perplexity_per_word"):
        assert manifest["figures"]["bfloat16"][name] == pytest.approx(figures["tuned"]["held_out"][name], rel=1e-3)
    assert manifest["figures"]["replies"] == figures["tuned"]["held_out"]["replies"]

    said = asyncio.run(_say(tmp_path / "responder" / "onnx"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "responder" / "hf")
    prompt = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "responder" / "hf")
    spoken = model.generate(prompt, attention_mask=prompt.new_ones(prompt.shape), do_sample=False, max_new_tokens=12)
    wanted = tokenizer.decode(spoken[0, prompt.shape[1] :], skip_special_tokens=True)
    assert said[:4].strip()
    assert said[:4] == wanted[:4]  # later, a near tie may fall the other way in few bits


async def _say(directory: Path) -> str:
    generator = GenaiGenerator(directory, threads=1)
    try:
        messages = tuple(ChatMessage(message["role"], message["content"]) for message in MESSAGES)  # type: ignore[arg-type]
        request = GenerationRequest(
            messages, Sampling(max_tokens=12, temperature=0.0), ReplyPlan("sadness", "initial", "unknown", "reflect")
        )
        async with aclosing(generator.stream(request)) as chunks:
            return "".join([chunk.text async for chunk in chunks])
    finally:
        await generator.aclose()
