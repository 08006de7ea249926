from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from empathetic_server import errors
from empathetic_server.emotions import VALENCE
from empathetic_server.metrics import Metrics
from empathetic_server.routes.schemas import EmotionsResponse, ErrorResponse

from tests.server.conftest import FakeClassifier, GatedClassifier, engine_arguments, serving
from tests.server.tiny_artifact import WORDS

pytestmark = pytest.mark.anyio


async def post(client: httpx2.AsyncClient, body: Any, **kwargs: Any) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post("/v1/emotions", content=content, **kwargs)


async def test_one_text_is_answered_as_the_contract_says() -> None:
    async with serving(classifier=FakeClassifier()) as client:
        response = await post(client, {"input": "ok"})
    answer = response.json()
    assert response.status_code == 200
    assert {**answer, "data": []} == {
        "object": "list",
        "model": "emotion-classifier",
        "data": [],
        "usage": {"texts": 1, "tokens": 3},
    }
    [entry] = answer["data"]
    assert entry == {
        "index": 0,
        "primary": "admiration",
        "confident": False,
        "emotions": [{"label": "admiration", "score": 0.333333}],
        "valence": VALENCE["admiration"],
        "truncated": False,
    }
    assert response.headers["server-timing"] == "tokenize;dur=0.100, queue;dur=0.200, compute;dur=0.300"
    assert response.headers["x-model-version"] == "7-fake"


async def test_threshold_top_k_and_scores_are_honoured() -> None:
    async with serving(classifier=FakeClassifier()) as client:
        response = await post(client, {"input": ["a", "bb"], "threshold": 0.25, "top_k": 2, "scores": True})
    first, second = response.json()["data"]
    assert [emotion["label"] for emotion in first["emotions"]] == ["admiration", "amusement"]
    assert first["confident"]
    assert [first["index"], second["index"]] == [0, 1]
    assert list(first["scores"]) == list(VALENCE)
    assert first["scores"]["admiration"] == 0.5


@pytest.mark.parametrize(
    ("body", "status", "code", "named"),
    [
        (b"", 400, "malformed_request", ""),
        (b"{", 400, "malformed_request", ""),
        (b'{"input": "\xff"}', 400, "malformed_request", ""),
        (b'{"input": "\\ud800"}', 400, "malformed_request", ""),
        (b'{"input": ' + b"[" * 100_000, 400, "malformed_request", ""),
        ([], 422, "invalid_request", "body"),
        ({}, 422, "invalid_request", "input"),
        ({"input": None}, 422, "invalid_request", "input"),
        ({"input": 3}, 422, "invalid_request", "input"),
        ({"input": []}, 422, "invalid_request", "input"),
        ({"input": ["fine", 3]}, 422, "invalid_request", "input[1]"),
        ({"input": ""}, 422, "invalid_request", "input[0]"),
        ({"input": ["fine", " \n\t"]}, 422, "invalid_request", "input[1]"),
        ({"input": "x", "top_k": 0}, 422, "invalid_request", "top_k"),
        ({"input": "x", "top_k": 29}, 422, "invalid_request", "top_k"),
        ({"input": "x", "top_k": True}, 422, "invalid_request", "top_k"),
        ({"input": "x", "threshold": 1.01}, 422, "invalid_request", "threshold"),
        ({"input": "x", "threshold": float("nan")}, 422, "invalid_request", "threshold"),
        ({"input": "x", "priority": "urgent"}, 422, "invalid_request", "priority"),
        ({"input": "x", "timeout_ms": 0}, 422, "invalid_request", "timeout_ms"),
        ({"input": "x", "scores": "yes"}, 422, "invalid_request", "scores"),
        ({"input": "x", "treshold": 0.5}, 422, "invalid_request", "unknown field"),
        ({"input": ["x"] * 1025}, 413, "too_large", "1025"),
        (b" " * (2 * 1024 * 1024 + 1), 413, "too_large", "bytes"),
    ],
)
async def test_bad_bodies_get_the_contracts_error(body: Any, status: int, code: str, named: str) -> None:
    async with serving(classifier=FakeClassifier()) as client:
        response = await post(client, body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["retryable"]) == (status, code, False)
    assert named in error["message"]
    assert error["request_id"] == response.headers["x-request-id"]


async def test_a_body_in_chunks_without_a_length_is_limited_too() -> None:
    async def chunks() -> Any:
        for _ in range(3):
            yield b" " * 1024 * 1024

    async with serving(classifier=FakeClassifier()) as client:
        response = await client.post("/v1/emotions", content=chunks())
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("failure", "retry_after"),
    [
        (errors.Overloaded("full", retry_after_s=7), "7"),
        (errors.BackendUnavailable("down", retry_after_s=1), "1"),
        (errors.DeadlineExceeded("late"), None),
    ],
    ids=["queue-full", "engine-down", "deadline"],
)
async def test_engine_errors_reach_the_client(failure: errors.EmpatheticError, retry_after: str | None) -> None:
    async with serving(classifier=FakeClassifier(failure)) as client:
        response = await post(client, {"input": "x"})
    assert response.status_code == failure.status
    assert response.json()["error"]["code"] == failure.code
    assert response.json()["error"]["retryable"]
    assert response.headers.get("retry-after") == retry_after


async def test_a_defect_is_a_500_whose_details_are_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(classifier=FakeClassifier(RuntimeError("secret detail"))) as client:
        response = await post(client, {"input": "canary-text"})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal"
    assert "secret" not in response.text
    assert "secret detail" in caplog.text
    assert "canary-text" not in caplog.text


async def test_no_text_is_found_in_logs_metrics_or_errors(caplog: pytest.LogCaptureFixture, repository: Path) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "httpx2")  # the test's own client logs addresses
    engine = GatedClassifier(**engine_arguments(repository))
    engine.gate.set()
    async with serving(classifier=engine) as client:
        answers = [
            await post(client, {"input": ["canary7391", "canary7391 crash"]}),
            await post(client, {"input": ["canary7391"], "priority": "canary7391"}),
            await post(client, {"canary7391": "canary7391"}),
            await client.get("/canary7391"),
            await client.get("/metrics"),
        ]
    assert [answer.status_code for answer in answers] == [500, 422, 422, 404, 200]
    assert "canary7391" not in "".join(answer.text for answer in answers) + caplog.text


async def test_up_to_eight_texts_are_interactive_and_more_are_bulk_unless_said() -> None:
    engine = FakeClassifier()
    async with serving(classifier=engine) as client:
        for body in ({"input": ["x"] * 8}, {"input": ["x"] * 9}, {"input": "x", "priority": "bulk"}):
            await post(client, body)
    assert engine.priorities == ["interactive", "bulk", "bulk"]


async def test_one_text_alone_and_among_63_others_has_the_same_scores(repository: Path) -> None:
    engine = GatedClassifier(**engine_arguments(repository, max_queued_texts=100))
    engine.gate.set()
    generator = np.random.default_rng(2)
    texts = [" ".join(generator.choice(WORDS, size=length)) for length in generator.integers(1, 30, size=64)]
    async with serving(classifier=engine) as client:
        together = (await post(client, {"input": texts, "scores": True})).json()["data"]
        alone = [(await post(client, {"input": text, "scores": True})).json()["data"][0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)


async def test_a_client_that_leaves_frees_its_place_before_compute(repository: Path) -> None:
    own = Metrics()
    engine = GatedClassifier(**engine_arguments(repository, metrics=own))
    async with serving(classifier=engine) as client:
        first = asyncio.create_task(post(client, {"input": WORDS[0]}))
        await engine.computing_now()
        await _post_and_leave(client._transport.app, engine)  # type: ignore[attr-defined]  # no client library can leave in the middle
        engine.gate.set()
        await first
        await post(client, {"input": f"{WORDS[1]} {WORDS[2]}"})
        metrics = (await client.get("/metrics")).text
    assert engine.shapes == [(1, 3), (1, 4)]
    assert 'empathetic_http_requests_total{route="/v1/emotions",status="499"} 1.0' in metrics
    assert own.registry.get_sample_value("empathetic_dropped_texts_total") == 1


async def _post_and_leave(app: Any, engine: GatedClassifier) -> None:
    """Send a whole request, wait until it is queued, and disconnect; as uvicorn tells it to an application."""
    sent = False

    async def receive() -> Any:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": json.dumps({"input": "w1"}).encode(), "more_body": False}
        await engine.has_waiting(1)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(f"nobody is there to receive {message}")

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/emotions", "headers": headers, "query_string": b"", "http_version": "1.1"}
    await app(scope, receive, send)


async def test_unknown_paths_and_methods_get_the_contracts_errors() -> None:
    async with serving(classifier=FakeClassifier()) as client:
        missing, wrong = await client.get("/v1/nothing"), await client.get("/v1/emotions")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]["code"], wrong.headers["allow"]) == (405, "method_not_allowed", "POST")


async def test_a_harmless_request_id_is_kept_and_any_other_is_replaced() -> None:
    async with serving(classifier=FakeClassifier()) as client:
        kept = await client.get("/livez", headers={"x-request-id": "trace-7"})
        replaced = await client.get("/livez", headers={"x-request-id": "a b"})
    assert kept.headers["x-request-id"] == "trace-7"
    assert len(replaced.headers["x-request-id"]) == 32


async def test_readiness_names_the_engine_and_degrades_without_a_503() -> None:
    engine = FakeClassifier()
    async with serving(classifier=engine) as client:
        ready = await client.get("/readyz")
        engine.failure = RuntimeError("down")
        degraded = await client.get("/readyz")
    assert ready.json() == {
        "status": "ready",
        "engines": {
            "classifier": {"name": "fake", "ready": True},
            "generator": {"name": "written", "ready": True},
            "sessions": {"name": "memory", "ready": True},
        },
    }
    assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")


async def test_unknown_paths_cannot_fill_the_metrics() -> None:
    async with serving(classifier=FakeClassifier()) as client:
        for number in range(3):
            await client.get(f"/scan{number}")
        text = (await client.get("/metrics")).text
    assert 'empathetic_http_requests_total{route="unmatched",status="404"} 3.0' in text
    assert "scan" not in text


async def test_a_server_without_the_page_has_no_trace_of_it() -> None:
    async with serving(classifier=FakeClassifier()) as client:
        statuses = [(await client.get(path)).status_code for path in ("/", "/ui", "/ui/", "/docs")]
    assert statuses == [404, 404, 404, 200]


async def test_the_documentation_page_loads_nothing_from_other_hosts() -> None:
    async with serving(classifier=FakeClassifier()) as client:
        page = (await client.get("/docs")).text
        assets = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(assets) == 3
        assert "://" not in page
        for asset in assets:
            assert (await client.get(asset)).status_code == 200
        schema = (await client.get("/openapi.json")).json()
    assert "requestBody" in schema["paths"]["/v1/emotions"]["post"]


async def test_answers_and_errors_are_those_that_the_openapi_document_describes() -> None:
    async with serving(classifier=FakeClassifier()) as client:
        answer = await post(client, {"input": ["a", "bb"], "scores": True})
        refusal = await post(client, {"input": ""})
        described = (await client.get("/openapi.json")).json()["paths"]["/v1/emotions"]["post"]["responses"]
    EmotionsResponse.model_validate_json(answer.text, strict=True)
    ErrorResponse.model_validate_json(refusal.text, strict=True)
    assert set(described) == {"200", "400", "413", "422", "429", "500", "503", "504"}


async def test_the_application_closes_its_engine() -> None:
    engine = FakeClassifier()
    async with serving(classifier=engine):
        assert engine.ready()
    assert engine.closed


def test_every_error_has_a_code_of_its_own_and_a_valid_status() -> None:
    def leaves(kind: type[errors.EmpatheticError]) -> list[type[errors.EmpatheticError]]:
        return [leaf for child in kind.__subclasses__() for leaf in leaves(child)] or [kind]

    kinds = leaves(errors.EmpatheticError)
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(400 <= kind.status < 600 for kind in kinds)
    assert all(f"{kind.code} {kind.status}" in (errors.__doc__ or "") for kind in kinds)
