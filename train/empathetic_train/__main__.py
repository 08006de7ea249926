"""The command line of the training stage; knows no training. Heavy libraries are loaded only by a real run.

empathetic-train classifier --recipe train/recipes/minilm-cpu.toml --data DIR
empathetic-train classifier --view-results results/
accelerate launch -m empathetic_train classifier --recipe train/recipes/deberta-gpu.toml
empathetic-train crisis --data DIR
empathetic-train responder --recipe train/recipes/responder-cpu.toml --data DIR
"""

from __future__ import annotations

import argparse
import errno
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from .config import TrainConfig, add_flags, build_config, merge
from .errors import TrainError
from .responder.config import ResponderConfig
from .view import view

Runner = Callable[[TrainConfig], Path | None]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# safetensors and torch report a full disk in their own exceptions, with these words.
_NO_ROOM_TEXTS = ("No space left on device", "File too large", "Disk quota exceeded", "PytorchStreamWriter failed writing file")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2, without the usage."""
        _fail(message, 2)


def main(argv: Sequence[str] | None = None, *, runner: Runner | None = None) -> None:
    """Run the command line; `runner` replaces the real run in tests."""
    parser = _Parser(prog="empathetic-train", description="Train the models that EmpatheticAI serves.")
    commands = parser.add_subparsers(dest="command", required=True)
    classifier = commands.add_parser("classifier", help="train the emotion classifier", description="Train the emotion classifier.")
    classifier.add_argument("--recipe", type=Path, metavar="FILE", help="TOML file of settings; flags override it")
    classifier.add_argument("--view-results", type=Path, metavar="DIR", help="print the results in DIR (or the newest in it) and exit")
    add_flags(classifier)
    crisis = commands.add_parser("crisis", help="train the crisis head of an exported classifier", description="Train the crisis head.")
    crisis.add_argument("--data", type=Path, metavar="DIR", required=True, help="folder with crisis_train/, goemotions/ and dialogue/")
    crisis.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        default=Path("model_repository/emotion_classifier"),
        help="the exported classifier, which the head is written into (default: %(default)s)",
    )
    responder = commands.add_parser("responder", help="train the reply generator", description="Train the reply generator.")
    responder.add_argument("--recipe", type=Path, metavar="FILE", help="TOML file of settings; flags override it")
    add_flags(responder, ResponderConfig)
    flags = parser.parse_args(argv)
    try:
        if flags.command == "responder":
            print(_train_responder(merge(flags, flags.recipe, ResponderConfig)).read_text(encoding="utf-8"), end="")
            return
        if flags.command == "crisis":
            print(_train_head(flags.model, flags.data))
            return
        if flags.view_results:
            print(view(flags.view_results), end="")
            return
        results = (runner or _run)(build_config(flags, flags.recipe))
        if results:
            print(view(results), end="")
            print(f"\nresults in {results}")
    except TrainError as exc:
        _fail(str(exc), exc.status)
    except KeyboardInterrupt:
        _fail("interrupted; repeat the command to resume", 130)  # 128 + SIGINT, as shells have it
    except Exception as exc:
        if not _is_disk_full(exc):
            raise
        _fail("the disk is full, or a limit on file sizes is reached; make room and repeat the command to resume", 1)


def _run(config: TrainConfig) -> Path | None:
    from .processes import leave  # noqa: PLC0415  # as above
    from .run import run  # noqa: PLC0415  # as above

    _set_up_logging()
    results = run(config)
    leave()
    return results


def _train_responder(config: ResponderConfig) -> Path:
    from .responder.run import run  # noqa: PLC0415  # as above

    _set_up_logging()
    return run(config)


def _set_up_logging() -> None:
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415  # seconds, and not for --help

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("empathetic_train").setLevel(logging.INFO)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # not ten lines of retries before our one
    transformers_logging.set_verbosity_error()
    # Tiny runs only: the Trainer then orders its checkpoints by number, which is right.
    warnings.filterwarnings("ignore", message="mtime may not be reliable")


def _train_head(model: Path, data: Path) -> Path:
    from .crisis import train_head  # noqa: PLC0415  # as above

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return train_head(model, data)


def _is_disk_full(exc: BaseException) -> bool:
    return any(
        (isinstance(cause, OSError) and cause.errno in _NO_ROOM) or any(text in str(cause) for text in _NO_ROOM_TEXTS)
        for cause in _causes(exc)
    )


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def _fail(message: str, status: int) -> NoReturn:
    progress = sys.modules.get("tqdm")
    for bar in list(progress.tqdm._instances) if progress else ():  # or it would be drawn over the message
        bar.close()
    print(f"empathetic-train: error: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
