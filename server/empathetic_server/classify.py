"""Classify texts without a server: `empathetic-classify "some text"`, a file, or standard input, one text a line.

The engine and the decisions are the server's. Knows no HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import itertools
import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .emotions import read_emotions
from .engines.embedded_classifier import EmbeddedClassifier, load_embedded
from .engines.manifest import read_manifest
from .errors import ArtifactError, EmpatheticError
from .metrics import Metrics
from .settings import Settings

# Enough texts to fill batches of every length; few enough that output starts at once.
_CHUNK = 512
# Chunks in the engine at a time: one computes, one is tokenized.
_CHUNKS_AHEAD = 2
# A whole chunk takes seconds; this only ends a hung engine.
_TIMEOUT_S = 3600.0


class InputError(Exception):
    """The input cannot be read; the message names the file and, where there is one, the line."""


def main() -> None:
    """Run the command. Exits with 2 on bad input, settings or model."""
    arguments = _parser().parse_args()
    logging.basicConfig(level="WARNING", format="%(levelname)s %(message)s")
    try:
        settings = Settings()
        engine = load_embedded(read_manifest(settings.model_repository), settings, Metrics())
        asyncio.run(_classify_all(engine, arguments))
    except (ArtifactError, EmpatheticError, InputError, ValidationError) as exc:
        sys.exit(f"empathetic-classify: error: {str(exc).splitlines()[0]}")
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="empathetic-classify", description="Detect the emotions in texts.")
    parser.add_argument("texts", nargs="*", help="texts to classify; without any, and without --file, standard input is read")
    parser.add_argument("--file", type=Path, help="a .csv, .jsonl or .parquet file, or any other with one text a line")
    parser.add_argument("--column", default="text", help="the column or key that holds the text (default: text)")
    parser.add_argument("--format", choices=("table", "jsonl"), help="default: table on a terminal, else jsonl")
    parser.add_argument("--top-k", type=int, choices=range(1, 29), metavar="1-28", help="most emotions for a text")
    return parser


async def _classify_all(engine: EmbeddedClassifier, arguments: argparse.Namespace) -> None:
    """Read, classify and print chunk by chunk, in the order of the input."""
    # Python turns undecodable bytes of an argument into lone surrogates, which no tokenizer takes.
    given = [text.encode("utf-8", "replace").decode() for text in arguments.texts]
    texts = given or _read(arguments.file, arguments.column)
    form = arguments.format or ("table" if sys.stdout.isatty() else "jsonl")
    columns = (TextColumn("classified"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    pending: deque[tuple[list[str], asyncio.Task[list[dict[str, Any]]]]] = deque()
    index = 0
    with Progress(*columns, disable=bool(arguments.texts) or not sys.stderr.isatty(), transient=True) as progress:
        shown = progress.add_task("classify", total=len(arguments.texts) or None)

        async def finish_oldest() -> None:
            nonlocal index
            chunk, task = pending.popleft()
            for text, found in zip(chunk, await task, strict=True):
                _print(index, text, found, form)
                index += 1
            progress.advance(shown, len(chunk))

        try:
            for chunk in _chunks(texts):
                pending.append((chunk, asyncio.create_task(_classify(engine, chunk, arguments.top_k))))
                if len(pending) > _CHUNKS_AHEAD:
                    await finish_oldest()
            while pending:
                await finish_oldest()
        finally:
            await engine.aclose()
            sys.stdout.flush()


async def _classify(engine: EmbeddedClassifier, texts: list[str], top_k: int | None) -> list[dict[str, Any]]:
    """Classify a chunk; a blank text gets an error of its own, so that every input has its line of output."""
    filled = [text for text in texts if text.strip()]
    if not filled:
        return [{"error": "empty or blank"} for _ in texts]
    found = await engine.classify(filled, priority="bulk", timeout_s=_TIMEOUT_S)
    answers = iter(
        {**read_emotions(row, engine.labels, engine.thresholds, top_k).as_dict(), "truncated": truncated}
        for row, truncated in zip(found.probabilities.tolist(), found.truncated, strict=True)
    )
    return [next(answers) if text.strip() else {"error": "empty or blank"} for text in texts]


def _print(index: int, text: str, found: dict[str, Any], form: str) -> None:
    if form == "jsonl":
        sys.stdout.buffer.write(orjson.dumps({"index": index, "text": text, **found}) + b"\n")
        return
    emotions = found.get("error") or "  ".join(f"{emotion['label']} {emotion['score']:.2f}" for emotion in found["emotions"])
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    sys.stdout.write(f"{emotions:<44}  {line[:100]}\n")


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk


def _read(path: Path | None, column: str) -> Iterator[str]:
    """Yield the texts of a file, or of standard input when `path` is None.

    Raises:
        InputError: the file, the column or a line is missing or wrong.
    """
    if path is None:
        for line in sys.stdin.buffer:
            yield line.decode("utf-8", "replace").rstrip("\r\n")
        return
    reader = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}.get(path.suffix.lower(), _read_lines)
    try:
        yield from reader(path, column)
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror or 'not a readable file of its kind'}") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"{path}: not UTF-8") from exc


def _read_lines(path: Path, _column: str) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield line.rstrip("\r\n")


def _read_csv(path: Path, column: str) -> Iterator[str]:
    csv.field_size_limit(2**31 - 1)  # the default of 128 KiB is less than a long text
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            if column not in (rows.fieldnames or ()):
                raise InputError(f"{path}:1: no column {column!r}; choose one with --column")
            for row in rows:
                if row[column] is None:
                    raise InputError(f"{path}:{rows.line_num}: fewer columns than the header")
                yield row[column]
        except csv.Error as exc:
            raise InputError(f"{path}:{rows.line_num}: {exc}") from exc


def _read_jsonl(path: Path, column: str) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError as exc:
                raise InputError(f"{path}:{number}: {exc}") from exc
            if not isinstance(record, dict) or not isinstance(record.get(column), str):
                raise InputError(f"{path}:{number}: no text under {column!r}; choose a key with --column")
            yield record[column]


def _read_parquet(path: Path, column: str) -> Iterator[str]:
    from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415  # 0.2 s of imports that no other input needs

    try:
        with closing(parquet.ParquetFile(path)) as file:
            if column not in file.schema_arrow.names:
                raise InputError(f"{path}: no column {column!r}; choose one with --column")
            for batch in file.iter_batches(batch_size=_CHUNK, columns=[column]):
                yield from (str(text or "") for text in batch.column(0).to_pylist())
    except ArrowInvalid as exc:
        raise InputError(f"{path}: not a Parquet file") from exc


if __name__ == "__main__":
    main()
