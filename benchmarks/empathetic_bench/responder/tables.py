"""Renders the responder's result files as Markdown. Knows no measuring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..safety import wilson

UNMEASURED = "Not measured yet."
_NONE = "none"
_NAMES = {"responder": "responder", "pretrained": "before fine-tuning", "written": "written replies"}


def responder_table(content: dict[str, Any]) -> str:
    """Return the table of `empathetic-bench responder`, with perplexity, openings and hardware below it."""
    systems = content["systems"]
    shown = [name for name in _NAMES if name in systems]
    lines = [f"| | {' | '.join(_NAMES[name] for name in shown)} |", f"|---|{'---:|' * len(shown)}"]
    for title, cell in _ROWS.items():
        lines.append(f"| {title} | {' | '.join(cell(systems[name]) for name in shown)} |")
    model, openings, hardware = content["model"], content["openings"], content["hardware"]
    measured, precision = model["figures"], model["precision"]
    lines += [
        "",
        f"{openings['count']} openings ({openings['name']}), {openings['unpleasant']} of them of unpleasant feeling, each the first "
        "message of a conversation, one client; in brackets 95 % Wilson intervals. A cheerful reply is one whose strongest feeling, by the "
        "classifier that reads the messages, is admiration, amusement, excitement, gratitude, joy, love, pride or relief. A server that "
        "chooses among drafts asks that classifier, too: what it cannot see is not counted here, and only a reading shows it.",
        "",
        f"Perplexity of {measured['replies']} held-out replies: {measured[precision]['perplexity_per_token']:.2f} a token, "
        f"{measured[precision]['perplexity_per_word']:.2f} a word in {precision}; {measured['bfloat16']['perplexity_per_token']:.2f} and "
        f"{measured['bfloat16']['perplexity_per_word']:.2f} in bfloat16.{_test_line(model['metrics'])}",
        "",
        f"{model['parameters'] / 1e6:.1f} M parameters in {precision}, {measured[precision]['bytes'] / 1e6:.1f} MB. "
        f"{hardware['processor']}, {hardware['cores']} cores. Command: `{content['command']}`.",
    ]
    return "\n".join(lines)


def _test_line(metrics: dict[str, Any]) -> str:
    test = metrics.get("tuned", {}).get("test")
    return (
        f" On the test split, in training's own precision: {test['perplexity_per_word']:.2f} a word ({test['replies']} replies)."
        if test
        else ""
    )


def sheet_table(content: dict[str, Any]) -> str:
    """Return what the judged sheet says of the responder and of the written replies."""
    better, total = content["better"], sum(content["better"].values())
    lines = ["| the better reply | prompts |", "|---|---:|"]
    lines += [f"| {title} | {_share(better[name], total)} |" for name, title in _BETTER.items()]
    lines += ["", "| judged | good | bland | wrong |", "|---|---:|---:|---:|"]
    for name in ("responder", "written"):
        marks = content["marks"][name]
        judged = sum(marks.values())
        lines.append(f"| {_NAMES[name]} | {' | '.join(_share(marks[mark], judged) for mark in ('good', 'bland', 'wrong'))} |")
    lines += [
        "",
        f"{total} prompts, the two replies to each in an order drawn by a seed and read without the key, although "
        "the two can be told apart by their wording. Of the "
        f"responder's, {content['spoken']} are the model's own words; the others are written ones that stood in for it.",
    ]
    return "\n".join(lines)


_BETTER = {"responder": "the responder's", "written": "the written one", "tie": "neither"}


def _share(count: int, total: int) -> str:
    if not total:
        return _NONE
    low, high = wilson(count, total)
    return f"{count} of {total}, {100 * count / total:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _own(key: str, total: str) -> Callable[[dict[str, Any]], str]:
    def cell(system: dict[str, Any]) -> str:
        found = system["own"]
        return f"{found[key] / found[total]:.3f}" if found[total] else _NONE

    return cell


def _cheerful(part: str) -> Callable[[dict[str, Any]], str]:
    return lambda system: _share(system[part]["cheerful"], system[part]["unpleasant"])


def _reaching(system: dict[str, Any]) -> str:
    """Share of the messages without danger whose reply is the system's own."""
    return _share(system["own"]["replies"], system["shown"]["replies"])


def _overlap(system: dict[str, Any]) -> str:
    own, other = system["own"]["overlap"]["own"], system["own"]["overlap"]["other"]
    return _NONE if own is None else f"{100 * own:.1f} % / {100 * other:.1f} %"


def _speed(key: str, unit: str) -> Callable[[dict[str, Any]], str]:
    def cell(system: dict[str, Any]) -> str:
        value = system["speed"][key]
        return _NONE if value is None else f"{value:.1f}{unit}"

    return cell


_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "its own reply passes the checks and reaches the person": _reaching,
    "cheerful replies to unpleasant messages, of all shown": _cheerful("shown"),
    "the same, of its own": _cheerful("own"),
    "words in a reply": _own("words", "replies"),
    "distinct-1": _own("distinct_words", "words"),
    "distinct-2": _own("distinct_pairs", "pairs"),
    "distinct replies": _own("distinct_replies", "replies"),
    "replies that repeat three words": _own("repetitive", "replies"),
    "content words shared with the message / with another": _overlap,
    "first token, p50": _speed("first_token_p50_ms", " ms"),
    "the same without classification": _speed("first_token_beyond_classification_p50_ms", " ms"),
    "tokens of all drafts per second": _speed("tokens_per_s", ""),
}
