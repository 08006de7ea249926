"""The graph beside PyTorch, and in the engine that runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime_genai
import pytest
import torch
from empathetic_export.responder import perplexity
from empathetic_export.responder.checkpoint import read_responder
from empathetic_export.responder.quantizing import quantize
from empathetic_export.responder.to_genai import MODEL, write_genai
from transformers import AutoTokenizer

from tests.export.responder.conftest import MESSAGES

# Activations of 8 bits are what differs, once PyTorch computes with the weights as the graph has them.
_TOLERANCE = 0.03


@pytest.mark.parametrize("bits", [4, 8])
def test_the_graph_computes_what_pytorch_does_with_the_same_weights(responder: Path, tmp_path: Path, bits: int) -> None:
    checkpoint = read_responder(responder)
    write_genai(checkpoint, bits, tmp_path)
    model = checkpoint.model()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                weight.copy_(torch.from_numpy(quantize(checkpoint.tensors[name], bits).restored()))
    ids = np.random.default_rng(0).integers(6, checkpoint.shape.vocabulary, 100).tolist()
    with torch.inference_mode():
        wanted = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()
    found = perplexity.of_graph(tmp_path / MODEL, checkpoint)(ids)
    assert np.abs(found - wanted).mean() < _TOLERANCE * wanted.std()


def test_the_engine_writes_token_by_token_what_the_graph_foresees_at_once(responder: Path, tmp_path: Path) -> None:
    """Shows that keys, values and positions go on rightly after the prompt."""
    checkpoint = read_responder(responder)
    write_genai(checkpoint, 8, tmp_path)
    model = onnxruntime_genai.Model(str(tmp_path))
    tokenizer = onnxruntime_genai.Tokenizer(model)
    prompt = [int(token) for token in tokenizer.encode(tokenizer.apply_chat_template(json.dumps(MESSAGES), add_generation_prompt=True))]
    theirs = AutoTokenizer.from_pretrained(responder).apply_chat_template(MESSAGES, add_generation_prompt=True)
    assert prompt == theirs
    parameters = onnxruntime_genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(prompt) + 40, do_sample=False)
    generator = onnxruntime_genai.Generator(model, parameters)
    generator.append_tokens(prompt)
    written = list(prompt)
    while not generator.is_done():
        generator.generate_next_token()
        written.append(int(generator.get_next_tokens()[0]))
    assert len(written) > len(prompt) + 3
    logits = perplexity.of_graph(tmp_path / MODEL, checkpoint)(written[:-1])
    best = np.argsort(-logits[len(prompt) - 1 :], axis=1)[:, :2]
    # At once or by steps, sums are rounded differently: a near tie may fall the other way.
    assert np.mean([token in row for token, row in zip(written[len(prompt) :], best, strict=True)]) == 1
    assert np.mean(best[:, 0] == written[len(prompt) :]) > 0.9
