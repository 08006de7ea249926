"""Measure and report: `empathetic-bench --help` lists what; `empathetic-bench render` puts the results into the documents."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from . import (
    chat,
    chat_tables,
    classifier,
    classifier_tables,
    documents,
    examples,
    launching,
    load_tables,
    loads,
    parity,
    processor_time,
    quality,
    report,
    safety,
    sockets,
    stopping,
    sweep,
)
from .responder import judging, measuring, sheet, tables

_MODEL = Path("model_repository/emotion_classifier")
_SHEETS = Path("benchmarks/responder")

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main() -> None:
    """Run a benchmark in the root of a clone. Exits with 1 when something it needs is missing."""
    arguments = _parser().parse_args()
    try:
        if arguments.benchmark == "render":
            documents.render(Path(), check=arguments.check)
        else:
            print(_BENCHMARKS[arguments.benchmark](arguments))
    except (OSError, RuntimeError, parity.ParityError, loads.Refused, ValueError, judging.SheetError, report.ReportError) as exc:
        sys.exit(f"empathetic-bench: error: {exc}")


def _output(arguments: argparse.Namespace) -> Path:
    output: Path = arguments.output or documents.RESULTS / f"{arguments.benchmark}.json"
    return output


def _classifier(arguments: argparse.Namespace) -> str:
    config = classifier.BenchConfig(
        programs=_programs(arguments),
        data=arguments.data,
        rounds=arguments.rounds,
        count=arguments.texts,
        output=_output(arguments),
    )
    return classifier_tables.classifier_table(classifier.run(config, _tell))


def _quality(arguments: argparse.Namespace) -> str:
    return report.quality_table(quality.run(arguments.model, arguments.data, arguments.split, _output(arguments)))


def _examples(arguments: argparse.Namespace) -> str:
    return report.sentence_table(examples.run(arguments.model, arguments.server_python, _output(arguments)))


def _safety(arguments: argparse.Namespace) -> str:
    return safety.table(safety.run(arguments.model, arguments.server_python, arguments.data, _output(arguments)))


def _stop(arguments: argparse.Namespace) -> str:
    return stopping.summary(stopping.run(arguments.engine, arguments.server_python, arguments.trials, _output(arguments)))


def _sockets(arguments: argparse.Namespace) -> str:
    content = sockets.run(
        arguments.server_python,
        _output(arguments),
        sockets=arguments.sockets,
        active=arguments.active,
        seconds=arguments.seconds,
        pause_s=arguments.pause,
        settings={"EMPATHETIC_SESSIONS": arguments.sessions, "EMPATHETIC_GENERATOR": "written"},
    )
    return sockets.summary(content)


def _processor_time(arguments: argparse.Namespace) -> str:
    found = processor_time.run(arguments.server_python, _output(arguments), rounds=arguments.rounds, with_page=arguments.page)
    return processor_time.table(found)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _programs(arguments: argparse.Namespace) -> launching.Programs:
    return launching.Programs(
        arguments.model,
        arguments.server_python,
        triton=os.environ.get("EMPATHETIC_TRITON_PYTHON", ""),
        infinity=os.environ.get("EMPATHETIC_INFINITY_PYTHON", ""),
    )


def _load(arguments: argparse.Namespace) -> str:
    config = sweep.LoadBench(
        programs=_programs(arguments),
        targets=tuple(arguments.targets.split(",")),
        load=arguments.load,
        levels=tuple(map(int, arguments.levels.split(","))) if arguments.levels else (),
        shapes=tuple(arguments.shapes.split(",")),
        texts_per_request=tuple(map(int, arguments.texts_per_request.split(","))),
        data=arguments.data,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        objective_ms=arguments.objective,
        output=arguments.output or documents.RESULTS / f"load-{arguments.load}.json",
    )
    return load_tables.load_table(sweep.run(config, _tell))


def _chat(arguments: argparse.Namespace) -> str:
    there = {"written": True, "embedded": arguments.responder.is_dir(), "vllm": arguments.engine is not None}
    named = [name for name in chat.GENERATORS if there[name]] if arguments.generators is None else arguments.generators.split(",")
    config = chat.ChatBench(
        model=arguments.model,
        server_python=arguments.server_python,
        responder=arguments.responder,
        engine=arguments.engine,
        generators=tuple(filter(None, named)),
        ways=tuple(arguments.ways.split(",")),
        turns=arguments.turns,
        clients=arguments.clients,
        rounds=arguments.rounds,
        output=_output(arguments),
    )
    return chat_tables.chat_table(chat.run(config, _tell))


def _responder(arguments: argparse.Namespace) -> str:
    config = measuring.ResponderBench(
        model=arguments.responder,
        pretrained=arguments.pretrained,
        classifier=arguments.model,
        server_python=arguments.server_python,
        data=arguments.data,
        count=arguments.openings,
        is_test=arguments.test_split,
        output=_output(arguments),
    )
    return tables.responder_table(measuring.run(config, _tell))


def _sheet(arguments: argparse.Namespace) -> str:
    if arguments.unblind:
        return tables.sheet_table(judging.unblind(arguments.folder, _output(arguments)))
    return sheet.run(
        arguments.folder,
        model=arguments.responder,
        classifier=arguments.model,
        server_python=arguments.server_python,
        seed=arguments.seed,
        force=arguments.force,
    )


_BENCHMARKS: dict[str, Callable[[argparse.Namespace], str]] = {
    "classifier": _classifier,
    "load": _load,
    "chat": _chat,
    "quality": _quality,
    "examples": _examples,
    "safety": _safety,
    "stop": _stop,
    "sockets": _sockets,
    "processor-time": _processor_time,
    "responder": _responder,
    "responder-sheet": _sheet,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="empathetic-bench", description="Measure the classifier and the responder, and render the tables."
    )
    commands = parser.add_subparsers(dest="benchmark", required=True)
    speed = commands.add_parser("classifier", help="throughput and latency, offline and over HTTP, beside the tutorial's way")
    speed.add_argument("--data", type=Path, help="folder with GoEmotions' test.tsv (default: synthetic words of the same lengths)")
    speed.add_argument("--rounds", type=int, default=3, help="times that every case is measured (default: 3)")
    speed.add_argument("--texts", type=int, default=2000, help="texts of a round (default: 2000)")
    heavy, talk = _load_parser(commands), _chat_parser(commands)
    good = commands.add_parser("quality", help="F1 of the committed model")
    good.add_argument("--data", type=Path, required=True, help="folder with GoEmotions' TSV files")
    good.add_argument("--split", choices=("dev", "test"), default="test", help="default: test")
    sentences = commands.add_parser("examples", help="the answers that the README shows")
    crisis = commands.add_parser("safety", help="what the crisis check finds, and what it should not")
    crisis.add_argument("--data", type=Path, help="folder with GoEmotions' dev.tsv, for false alarms on everyday texts")
    stop = commands.add_parser("stop", help="how soon stopping a reply ends the work in a running vLLM")
    stop.add_argument("--engine", default="http://127.0.0.1:8100", help="vLLM's address (default: that of `make vllm`)")
    stop.add_argument("--trials", type=int, default=50, help="replies to stop (default: 50)")
    stop.add_argument("--output", type=Path, help="result file (default: below benchmarks/results/)")
    many = commands.add_parser("sockets", help="many open WebSockets, some of which talk; replies are the written ones")
    many.add_argument("--sockets", type=int, default=500, help="open sockets (default: 500)")
    many.add_argument("--active", type=int, default=50, help="sockets whose people talk (default: 50)")
    many.add_argument("--seconds", type=float, default=20, help="how long they talk (default: 20)")
    many.add_argument("--pause", type=float, default=2, help="mean seconds between a reply and the next message (default: 2)")
    many.add_argument("--sessions", default="memory://", help="where conversations are kept (default: memory://)")
    many.add_argument("--output", type=Path, help="result file (default: below benchmarks/results/)")
    spent = commands.add_parser("processor-time", help="the server's time on a processor: for its start, and for an answer")
    spent.add_argument("--rounds", type=int, default=5, help="starts of the server for each load (default: 5)")
    spent.add_argument("--page", action="store_true", help="with the web page")
    spent.add_argument("--output", type=Path, help="result file (default: below benchmarks/results/)")
    replies = commands.add_parser("responder", help="the responder's replies to openings it has not seen, beside written replies")
    replies.add_argument("--data", type=Path, required=True, help="folder with dialogue/, as training has it")
    replies.add_argument("--openings", type=int, default=300, help="openings of unpleasant feeling; a third as many others (default: 300)")
    replies.add_argument("--pretrained", type=Path, help="folder like --responder, of the model before fine-tuning")
    replies.add_argument("--test-split", action="store_true", help="take the test split: for a final report, never for a choice")
    blind = commands.add_parser("responder-sheet", help="replies to fixed prompts, as a page and as a blind sheet to judge")
    blind.add_argument("--folder", type=Path, default=_SHEETS, help=f"holds prompts.tsv and gets the rest (default: {_SHEETS})")
    blind.add_argument("--seed", type=int, default=7, help="of the order in which the two replies are shown (default: 7)")
    blind.add_argument("--force", action="store_true", help="replace a sheet in which something has been judged")
    blind.add_argument("--unblind", action="store_true", help="count the judged sheet with its key")
    for command in (talk, replies, blind):
        command.add_argument("--responder", type=Path, default=documents.RESPONDER, help=f"default: {documents.RESPONDER}")
    for command in (speed, heavy, talk, sentences, crisis, stop, many, spent, replies, blind):
        command.add_argument(
            "--server-python",
            default=os.environ.get("EMPATHETIC_SERVER_PYTHON", sys.executable),
            help="interpreter that runs the server (default: EMPATHETIC_SERVER_PYTHON, which the Makefile sets, or this one)",
        )
    for command in (speed, heavy, talk, good, sentences, crisis, replies, blind):
        command.add_argument("--model", type=Path, default=_MODEL, help=f"default: {_MODEL}")
        command.add_argument("--output", type=Path, help="result file (default: below benchmarks/results/)")
    tables = commands.add_parser("render", help="write the committed results' tables into the documents")
    tables.add_argument("--check", action="store_true", help="write nothing; fail when a document is out of date")
    return parser


def _load_parser(commands: Commands) -> argparse.ArgumentParser:
    heavy = commands.add_parser("load", help="latency and throughput of targets under a load of rising level")
    heavy.add_argument("load", choices=tuple(sweep.LOADS), help="when requests are sent: see loads.py")
    heavy.add_argument(
        "--targets",
        default="server",
        help=f"of {', '.join(launching.NAMES)}, or URLs of running ones (see targets.py), divided by commas (default: server)",
    )
    heavy.add_argument("--levels", help="clients or requests, divided by commas (default: the load's own)")
    heavy.add_argument("--shapes", default="synthetic", help="of goemotions, reddit, synthetic and tokens:N (default: synthetic)")
    heavy.add_argument("--texts-per-request", default="1", help="sizes of requests, divided by commas (default: 1)")
    heavy.add_argument("--data", type=Path, help="folder with goemotions/ and bench/, for the shapes of these names")
    heavy.add_argument("--seconds", type=float, default=5, help="how long a level is measured (default: 5)")
    heavy.add_argument("--rounds", type=int, default=3, help="times that every target is started and measured (default: 3)")
    heavy.add_argument("--objective", type=float, default=50, help="p99 in ms within which throughput is useful (default: 50)")
    return heavy


def _chat_parser(commands: Commands) -> argparse.ArgumentParser:
    talk = commands.add_parser("chat", help="time to the first piece of a reply and between pieces, and what the server adds")
    talk.add_argument("--engine", help="base URL of vLLM or another OpenAI-compatible engine, which ends in /v1; it is asked alone, too")
    talk.add_argument(
        "--generators", help=f'of {", ".join(chat.GENERATORS)}, divided by commas (default: those that are there); "" for the engine alone'
    )
    talk.add_argument("--ways", default=",".join(chat.WAYS), help=f"ways in, divided by commas (default: {','.join(chat.WAYS)})")
    talk.add_argument("--turns", type=int, default=40, help="messages of a round (default: 40)")
    talk.add_argument("--clients", type=int, default=1, help="conversations at a time (default: 1)")
    talk.add_argument("--rounds", type=int, default=3, help="times that every case is measured (default: 3)")
    return talk


if __name__ == "__main__":
    main()
