"""Renders what `empathetic-bench chat` has measured. Knows no measuring."""

from __future__ import annotations

from statistics import median
from typing import Any

from .load_tables import UNKNOWN


def chat_table(content: dict[str, Any]) -> str:
    """Return a row for every generator and way in, and a caption."""
    lines = [
        "| generator, way in | first piece p50 ms | p90 | p99 | p99.9 | beyond the generator's own ms | of it held "
        "| between pieces p50 ms | p99 | whole reply p50 ms | errors |",
        f"|---|{'---:|' * 10}",
    ]
    for case in content["cases"]:
        first, gap = case["first_ms"], case["gap_ms"]
        shown = [*(_ms(first[name]) for name in ("p50", "p90", "p99", "p999")), _spread(case["overhead_ms"]), _spread(case["held_ms"])]
        shown += [_ms(gap["p50"]), _ms(gap["p99"]), _ms(case["end_ms"]["p50"]), str(case["errors"])]
        lines.append(f"| {case['name']} | {' | '.join(shown)} |")
    hardware = content["hardware"]
    caption = (
        f"{hardware['processor']}, {hardware['cores']} cores, clients on the same. {content['turns']} messages a round, "
        f"{content['clients']} at a time, {content['rounds']} rounds in turn, each with a fresh server. The engine alone is asked what the "
        "server asks it, also right after each reply through it; beyond it: the difference message by message, of which held: from the "
        "engine's first token to the one that lets the first words go. Beyond the others: by the server's own metric of the generator. "
        f"Command: `{content['command']}`. Raw samples: [benchmarks/results/chat.json](../benchmarks/results/chat.json)."
    )
    return "\n".join([*lines, "", caption])


def _ms(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}"


def _spread(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.1f} ({min(known):.1f} to {max(known):.1f})" if known else UNKNOWN
