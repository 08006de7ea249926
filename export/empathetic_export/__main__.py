"""Export a checkpoint: `empathetic-export checkpoints/classifier --data DIR`, `empathetic-export responder checkpoints/responder`."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ExportError

if TYPE_CHECKING:
    from .parity import Parity


def main() -> None:
    """Export, check, and only then write. Exits with 2 when nothing was written."""
    logging.basicConfig(level="WARNING", format="%(levelname)s %(message)s")
    try:
        if sys.argv[1:2] == ["responder"]:
            _export_responder(_responder_parser().parse_args(sys.argv[2:]))
        else:
            _export_classifier(_parser().parse_args())
    except ExportError as exc:
        print(f"empathetic-export: error: {exc}", file=sys.stderr)
        sys.exit(2)
    except OSError as exc:
        print(f"empathetic-export: error: {exc.filename or ''} {exc.strerror}; nothing was written", file=sys.stderr)
        sys.exit(1)


def _export_classifier(arguments: argparse.Namespace) -> None:
    from .pipeline import export  # noqa: PLC0415  # seconds of imports that --help must not pay

    with tempfile.TemporaryDirectory() as scratch:
        parity = export(
            arguments.checkpoint,
            data=arguments.data,
            repository=arguments.output,
            precision=arguments.precision,
            scratch=Path(scratch),
            tensorrt=arguments.tensorrt,
            version_number=arguments.model_version,
        )
    print(_summary(parity))


def _export_responder(arguments: argparse.Namespace) -> None:
    from .responder.pipeline import export_responder  # noqa: PLC0415  # as above

    with tempfile.TemporaryDirectory() as scratch:
        manifest = export_responder(
            arguments.checkpoint, output=arguments.output, scratch=Path(scratch), replies=arguments.replies, report=print
        )
    print(f"{arguments.output}: {manifest['precision']}")


def _responder_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="empathetic-export responder", description="Turn a responder into hf/, onnx/ and a model card.")
    parser.add_argument("checkpoint", type=Path, help="a directory that `empathetic-train responder` finished")
    parser.add_argument("--output", type=Path, default=Path("models/responder"), help="default: models/responder")
    parser.add_argument("--replies", type=Path, help="held-out replies to measure on (default: held_out.jsonl in the checkpoint)")
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="empathetic-export",
        description="Turn a checkpoint into model_repository/emotion_classifier/.",
        epilog="`empathetic-export responder --help` tells how the reply generator is exported.",
    )
    parser.add_argument("checkpoint", type=Path, help="a directory that empathetic-train finished")
    parser.add_argument("--precision", choices=("int8", "fp16", "fp32"), default="int8", help="default: int8, for CPUs")
    parser.add_argument(
        "--data", type=Path, required=True, help="GoEmotions' TSV files: train calibrates int8, dev measures parity; test is not read"
    )
    parser.add_argument("--output", type=Path, default=Path("model_repository"), help="default: model_repository")
    parser.add_argument("--tensorrt", action="store_true", help="also build TensorRT's plan, or write the command that does; needs fp32")
    parser.add_argument(
        "--model-version", type=_positive, default=1, help="directory of the version in Triton; other versions stay (default: 1)"
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1 up")
    return int(text)


def _summary(parity: Parity) -> str:
    return (
        f"parity on {parity.texts} dev texts: largest difference {parity.max_difference:.1e}, mean {parity.mean_difference:.1e}, "
        f"texts with a changed decision {parity.changed_decisions:.2%}, alone against in a batch {parity.company_difference:.1e}\n"
        f"dev micro/macro F1 {parity.micro_f1:.4f}/{parity.macro_f1:.4f} "
        f"(checkpoint {parity.checkpoint_micro_f1:.4f}/{parity.checkpoint_macro_f1:.4f})"
    )


if __name__ == "__main__":
    main()
