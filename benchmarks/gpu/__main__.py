"""Measure on a CUDA machine: `PYTHONPATH=benchmarks python3 -m benchmarks.gpu --comments FILE --output FILE`, in the root of a clone.

Needs what a bare CUDA machine has: torch, transformers, tokenizers, safetensors, numpy; for the rest it says what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from empathetic_bench import environment

from . import model
from .batches import comments, tokenizing
from .conditions import Conditions
from .measuring import TOLERANCES, Probabilities, ceilings, measure

_TOKENIZER = Path("model_repository/emotion_classifier/tokenizer.json")
_PACKAGES = ("torch", "triton", "transformers", "tokenizers", "onnx", "onnxruntime", "onnxruntime-gpu", "numpy", "aiohttp")
# The model that the targets speak of: type, layers, hidden size.
_TARGET = ("roberta", 12, 768)
_NO_SERVER = "no --server was given: the product's server needs its own environment and, on a GPU, Triton"


def main() -> None:
    """Run, write the result after every model, print a table. Exits with 1 when a path failed, with 2 when nothing can be measured."""
    arguments = _parser().parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu: error: torch sees no CUDA device here")
    conditions = Conditions(device, arguments.token_budget, arguments.compiler)
    try:
        content = _measure_all(arguments, conditions)
    except (OSError, KeyError, ValueError, RuntimeError, ArithmeticError) as exc:
        print(f"gpu: error: {type(exc).__name__}: {exc}", file=sys.stderr)
        sys.exit(2)
    print(table(content))
    sys.exit(1 if any(one["failed"] for one in content["models"]) else 0)


def _measure_all(arguments: argparse.Namespace, conditions: Conditions) -> dict[str, Any]:
    classifiers = [model.load(name, arguments.max_length) for name in arguments.model]
    if arguments.server and [one.weights for one in classifiers] != ["trained"]:
        raise ValueError("--server needs one checkpoint as --model: the one that the server serves, to compare it with")
    if any(one.max_length > conditions.token_budget for one in classifiers):
        raise ValueError("--token-budget is smaller than a text may be long")
    texts = comments(arguments.comments)
    described = environment.describe(_PACKAGES)
    described["command"] = " ".join(["python3 -m benchmarks.gpu", *_without_folders(sys.argv[1:])])
    described["hardware"]["device"] = _device(conditions.device)
    content: dict[str, Any] = {
        "benchmark": "gpu",
        **described,
        "dtype": str(conditions.dtype).removeprefix("torch."),
        "token_budget": conditions.token_budget,
        "workers": arguments.workers,
        "ceilings": ceilings(conditions),
        "texts": {"count": len(texts), "sha256": hashlib.sha256("\n".join(texts).encode()).hexdigest()},
        "offline_texts_per_s": None,
        "http_texts_per_s": None,
        "http": {"missing": _NO_SERVER},
        "models": [],
    }
    for classifier in classifiers:
        with tokenizing(classifier.tokenizer or _TOKENIZER, classifier.max_length, arguments.workers) as encode:
            measured, wanted = measure(classifier, conditions, texts, encode, rounds=arguments.rounds, tell=_tell)
            is_whole = [len(ids) < classifier.max_length for chunk in encode(texts) for ids in chunk]
        content["models"].append(measured)
        is_target = _is_target(classifier, conditions)
        if is_target:
            content["offline_texts_per_s"] = max((path["rates"]["offline"]["texts_per_s"] for path in measured["paths"]), default=None)
        _write(arguments.output, content)
        if arguments.server:
            content["http"] = _over_http(arguments, classifier, texts, wanted, is_whole)
            content["http_texts_per_s"] = content["http"].get("summary", {}).get("texts_per_s") if is_target else None
            _write(arguments.output, content)
    return content


def _is_target(classifier: model.Classifier, conditions: Conditions) -> bool:
    config = classifier.reference.config
    return conditions.device.type == "cuda" and (config.model_type, config.num_hidden_layers, config.hidden_size) == _TARGET


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _over_http(
    arguments: argparse.Namespace, classifier: model.Classifier, texts: list[str], wanted: Probabilities, is_whole: list[bool]
) -> dict[str, Any]:
    try:
        from . import over_http  # noqa: PLC0415  # a bare machine may have no aiohttp
    except ImportError as exc:
        return {"missing": str(exc)}
    config = classifier.reference.config
    labels = [config.id2label[number] for number in range(config.num_labels)]
    load = over_http.Load(arguments.server.rstrip("/"), arguments.clients, arguments.texts_per_request, arguments.rounds)
    # What is served on a GPU is fp16.
    return over_http.measure(load, texts, over_http.Expected(labels, wanted, is_whole, TOLERANCES[torch.float16]))


def table(content: dict[str, Any]) -> str:
    """Return what was measured, one line a path: comments a second with and without tokenization, and shares of what is possible."""
    ceiling = content["ceilings"]["matrix_tera_operations_per_s"]
    lines = [
        "| model | path | comments/s | tokens at hand | padding | of the matrix rate | largest difference |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for one in content["models"]:
        for path in one["paths"]:
            offline, compute = path["rates"]["offline"], path["rates"]["compute"]
            sample = path["rounds"]["compute"][0]
            share = one["tera_operations"] * compute["texts_per_s"] / content["texts"]["count"] / ceiling
            spread = f"{offline['texts_per_s']:.0f} ({offline['lowest']:.0f} to {offline['highest']:.0f})"
            padding = f"{1 - sample['tokens'] / sample['computed']:.0%} | {share:.0%} | {path['largest_difference']:.1e}"
            lines.append(f"| {one['name']} | {path['shape']} | {spread} | {compute['texts_per_s']:.0f} | {padding} |")
        rate = content["texts"]["count"] / float(np.median(one["tokenization_s"]))
        lines.append(f"| {one['name']} | tokenization alone, {content['workers']} processes | {rate:.0f} | | | | |")
        for kind in ("missing", "failed"):
            lines += [f"| {one['name']} | {name} | {kind}: {reason} | | | | |" for name, reason in one[kind].items()]
    http = content["http"]
    rate = f"{http['summary']['texts_per_s']:.0f}" if "summary" in http else f"missing: {http['missing']}"
    lines.append(f"| | over HTTP | {rate} | | | | |")
    return "\n".join(lines)


def _device(device: torch.device) -> dict[str, Any]:
    if device.type != "cuda":
        return {"name": "cpu"}
    found = torch.cuda.get_device_properties(device)
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]  # noqa: S603  # constant
    except (OSError, subprocess.CalledProcessError, IndexError):
        driver = "unknown"
    return {
        "name": found.name,
        "memory_gib": round(found.total_memory / 2**30),
        "multiprocessors": found.multi_processor_count,
        "driver": driver,
        "cuda": torch.version.cuda,
    }


def _without_folders(arguments: list[str]) -> list[str]:
    """Leave out where files lie on this machine."""
    return [Path(argument).name if Path(argument).is_absolute() else argument for argument in arguments]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu", description="Measure the classifier on a CUDA device, in every way that this machine has.")
    parser.add_argument("--comments", type=Path, required=True, help="CSV file with a column `body`; may be gzipped")
    parser.add_argument("--output", type=Path, required=True, help="result file")
    shapes = list(model.SHAPES)
    parser.add_argument(
        "--model", nargs="+", default=shapes, help=f"checkpoints, or shapes with random weights (default: {' '.join(shapes)})"
    )
    parser.add_argument("--rounds", type=int, default=5, help="times that every path is measured (default: 5)")
    parser.add_argument("--token-budget", type=int, default=8192, help="tokens of a batch, padding included (default: 8192)")
    parser.add_argument("--max-length", type=int, default=512, help="tokens of a text; a checkpoint has its own (default: 512)")
    cores = os.cpu_count() or 1
    parser.add_argument("--workers", type=int, default=max(1, cores - 1), help="processes that tokenize (default: one less than cores)")
    parser.add_argument("--server", metavar="URL", help="also measure this server, which serves the checkpoint given as --model")
    parser.add_argument("--clients", type=int, default=32, help="requests to the server at a time (default: 32)")
    parser.add_argument("--texts-per-request", type=int, default=64, help="default: 64")
    parser.add_argument("--device", default="cuda", help="default: cuda; cpu is for the tests")
    parser.add_argument("--compiler", default="inductor", help="backend of torch.compile (default: inductor); the tests take a quick one")
    return parser


if __name__ == "__main__":
    main()
