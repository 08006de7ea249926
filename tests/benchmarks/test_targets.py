"""Every kind of target against a scripted server that speaks its protocol; gRPC is asked of a real Triton in test_measuring.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from aiohttp import web
from empathetic_bench.loads import Refused
from empathetic_bench.targets import Target, connected

from tests.benchmarks.serving import serving

T = TypeVar("T")
Answer = Callable[[Any], Any]
TEXTS = ["why?", "a long and tiring day at the office, and then the train was late", "I love it!"] * 20


def asked(path: str, answer: Answer, use: Callable[[Target], Awaitable[T]], model: Path = Path()) -> tuple[T, list[Any]]:
    """Use a target at a path whose server gives these answers; returns what came out, and the bodies it was asked."""
    bodies: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        bodies.append(await request.json() | {"path": request.path})
        found = answer(bodies[-1])
        return web.Response(status=found) if isinstance(found, int) else web.json_response(found)

    async def run() -> T:
        async with serving(handle) as address, connected(address + path, model) as target:
            return await use(target)

    return asyncio.run(run()), bodies


def test_this_projects_server_is_asked_with_a_priority_and_answers_every_score() -> None:
    def answer(body: Any) -> Any:
        return {"data": [{"scores": {"joy": len(text) / 100, "fear": 0.5}} for text in body["input"]]}

    async def use(target: Target) -> Any:
        await target.send(["a"], "bulk")
        return await target.scores(["four", "b"])

    scores, bodies = asked("/v1/emotions", answer, use)
    assert scores.tolist() == [[0.04, 0.5], [0.01, 0.5]]
    assert [(body["input"], body.get("priority")) for body in bodies] == [(["a"], "bulk"), (["four", "b"], None)]


def test_infinitys_labels_come_back_in_the_models_order() -> None:
    def answer(body: Any) -> Any:
        return {"data": [[{"label": "LABEL_1", "score": 0.9}, {"label": "LABEL_0", "score": len(text) / 10}] for text in body["input"]]}

    scores, bodies = asked("/classify", answer, lambda target: target.scores(["a", "bb"]))
    assert scores.tolist() == [[0.1, 0.9], [0.2, 0.9]]
    assert bodies[0]["input"] == ["a", "bb"]


def test_a_v2_server_gets_tokens_of_one_length_together_and_scores_return_to_their_texts(root: Path) -> None:
    def answer(body: Any) -> Any:
        ids, mask = (np.array(one["data"]).reshape(one["shape"]) for one in body["inputs"])
        logits = np.stack([mask.sum(1), (ids * mask).sum(1) / 1e5], axis=1)
        return {"outputs": [{"name": "logits", "shape": list(logits.shape), "data": logits.ravel().tolist()}]}

    model = root / "model_repository" / "emotion_classifier"
    scores, bodies = asked("/v2/models/emotion_classifier", answer, lambda target: target.scores(TEXTS), model)
    alone = [asked("/v2/models/x", answer, lambda target, one=text: target.scores([one]), model)[0] for text in TEXTS[:3]]
    assert np.allclose(scores, np.concatenate(alone * 20))
    assert len({tuple(row) for row in scores.tolist()}) == 3
    assert {body["path"] for body in bodies} == {"/v2/models/emotion_classifier/infer"}
    shapes = [body["inputs"][0]["shape"] for body in bodies]
    assert sum(rows for rows, _ in shapes) == len(TEXTS)
    assert all(rows <= 32 and length % 8 == 0 for rows, length in shapes)


@pytest.mark.parametrize("path", ["/v1/emotions", "/classify"])
def test_an_error_status_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="503"):
        asked(path, lambda body: 503, lambda target: target.send(["a"]))


def test_nobody_at_the_address_is_refused() -> None:
    async def run() -> None:
        async with connected("http://127.0.0.1:1/v1/emotions", Path()) as target:
            await target.send(["a"])

    with pytest.raises(Refused, match="127"):
        asyncio.run(run())


@pytest.mark.parametrize("url", ["sever", "http://127.0.0.1:1/predict"])
def test_an_unknown_kind_of_target_is_named(url: str) -> None:
    async def run() -> None:
        async with connected(url, Path()):
            pass

    with pytest.raises(ValueError, match=url):
        asyncio.run(run())
