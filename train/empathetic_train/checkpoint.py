"""The checkpoint directory: which files mean what, and in which order they appear. Knows no model and no data.

A finished checkpoint holds `training.json`, which is written last. An unfinished one holds `run/run.json`, written first, beside the
Trainer's own checkpoints; nothing else is in the directory until the run has succeeded.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FINISHED = "training.json"
STAGING = "run/finished"  # on the same file system as its destination, so that moving is renaming
TENSORBOARD = "tensorboard"
_RUN, _STARTED = "run", "run.json"
_PLACES = {"data", "checkpoint_dir", "results_dir", "cache_dir", "classifier", "hub_model_id", "force_train", "disable_tensorboard"}
# Settings that do not change the weights: a resumed run may have others. The data are compared by content.
_IRRELEVANT = _PLACES | {"confidence_threshold", "save_minutes", "evaluate_test"}


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def is_finished(directory: Path) -> bool:
    """Say whether `directory` holds a model whose training and evaluation were completed."""
    return (directory / FINISHED).is_file()


def is_started(directory: Path) -> bool:
    """Say whether `directory` holds an unfinished run."""
    return (directory / _RUN / _STARTED).is_file()


def work_dir(directory: Path) -> Path:
    """Return where the Trainer keeps its state until the run is finished."""
    return directory / _RUN


def read_json(path: Path) -> Any:
    """Read a JSON file of a checkpoint.

    Raises:
        CheckpointError: it is missing or malformed.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{path}: {exc.strerror if isinstance(exc, OSError) else exc}") from exc


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def begin(directory: Path, config: DataclassInstance, data_sha256: Mapping[str, str]) -> str:
    """Record what an unfinished run was started with, or check that a found one was started with the same.

    Returns:
        when the run was first started.

    Raises:
        ConfigError: the unfinished run in `directory` had other settings or data.
        CheckpointError: the directory cannot be written.
    """
    record = work_dir(directory) / _STARTED
    wanted = {name: value for name, value in _plain(config).items() if name not in _IRRELEVANT}
    if is_started(directory):
        found = read_json(record)
        changed = [
            f"{name} = {found['config'].get(name)!r}, not {value!r}" for name, value in wanted.items() if found["config"].get(name) != value
        ]
        changed += [f"another {name} split" for name, digest in data_sha256.items() if found["data_sha256"].get(name) != digest]
        if changed and not any(record.parent.rglob("checkpoint-*")):
            discard(directory)  # it failed before there was anything to resume
            return begin(directory, config, data_sha256)
        if changed:
            remedy = "repeat its settings to resume it, or give --force-train to start afresh"
            raise ConfigError(f"{record.parent} holds an unfinished run with {'; '.join(changed)}: {remedy}")
        return str(found["started_at"])
    started_at = now()
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise CheckpointError(f"{record.parent}: {exc.strerror}") from exc
    write_json(record, {"config": wanted, "data_sha256": dict(data_sha256), "started_at": started_at})
    return started_at


def discard(directory: Path) -> None:
    """Remove what earlier runs wrote, the mark of completion first; files that no run writes are left alone."""
    training = read_json(directory / FINISHED) if is_finished(directory) else {}
    (directory / FINISHED).unlink(missing_ok=True)
    for name in training.get("files", []):
        written = directory / Path(name).name  # the list is a file: it may not point elsewhere
        if written.is_dir():
            shutil.rmtree(written)
        else:
            written.unlink(missing_ok=True)
    shutil.rmtree(work_dir(directory), ignore_errors=True)


def publish(directory: Path, training: Mapping[str, Any]) -> None:
    """Move the files staged in `run/finished` into place, then write `training.json`; of `run/` only TensorBoard's logs stay."""
    staging = directory / STAGING
    files = sorted(path.name for path in staging.iterdir())
    for name in files:
        os.replace(staging / name, directory / name)
    write_json(directory / FINISHED, {**training, "files": files})
    run = work_dir(directory)
    (run / _STARTED).unlink()
    for path in run.iterdir():
        if path.is_dir() and path.name != TENSORBOARD:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    if not any(run.iterdir()):
        run.rmdir()


def stage(directory: Path) -> Path:
    """Return an empty directory for the finished files."""
    staging = directory / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    return staging


def changed_settings(directory: Path, config: DataclassInstance) -> list[str]:
    """Name the settings that would have led to another model than the finished one in `directory`."""
    found = read_json(directory / FINISHED).get("config", {})
    return [name for name, value in _plain(config).items() if name not in _IRRELEVANT and name in found and found[name] != value]


def settings(config: DataclassInstance) -> dict[str, Any]:
    """Return what `training.json` records of a configuration: all but the places on this machine and the flags of one call."""
    return {name: value for name, value in _plain(config).items() if name not in _PLACES}


def _plain(config: DataclassInstance) -> dict[str, Any]:
    """Return the configuration as JSON would give it back (tuples are lists), with the last part of each absolute path."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    plain |= {name: _portable(plain[name]) for name in ("model_name",) if name in plain}
    plain |= {name: [_portable(entry) for entry in plain[name]] for name in ("teachers", "average") if name in plain}
    return plain


def _portable(name: str) -> str:
    """Shorten an absolute path: the record of a run is published with the model, and is no place for a machine's folders."""
    return Path(name).name if Path(name).is_absolute() else name
