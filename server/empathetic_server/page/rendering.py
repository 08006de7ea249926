"""The page's parts as HTML: messages, emotions, contacts, mood. Pure; every text of a person or a model is escaped here."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

# Gradio fills values into templates of `${...}` and `{{...}}`: what a person writes must not look like one.
_TEMPLATE = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})

_STATES = {
    "unknown": "",
    "positive": "Mostly positive",
    "negative": "Mostly negative",
    "improving": "Getting brighter",
    "declining": "Getting heavier",
    "neutral": "Steady",
}
_ENDINGS = {"stopped": "You stopped this reply.", "length": "This reply was cut at its greatest length.", "error": "This reply broke off."}

# The chart's drawing, in its own units: valence 1 is at the top, -1 at the bottom.
_WIDTH, _HEIGHT, _MARGIN = 320, 120, 12
# So many messages fit before points run into each other.
_SHOWN_TURNS = 40


def escape(text: str) -> str:
    """Return a text as HTML that shows exactly that text."""
    return html.escape(text).translate(_TEMPLATE)


def transcript(greeting: str, messages: Sequence[Mapping[str, Any]], ratings: Mapping[str, str], *, busy: bool) -> str:
    """Return the conversation; while a reply is being written, nothing in it can be changed.

    Args:
        greeting: what Mira says first.
        messages: as in `GET /v1/sessions/{session_id}`, oldest first.
        ratings: `up` or `down` by message id.
        busy: whether a reply is being written.
    """
    last_reply = next((message["message_id"] for message in reversed(messages) if message["role"] == "assistant"), None)
    shown = [_bubble("assistant", escape(greeting), "")]
    for message in messages:
        message_id = escape(message["message_id"])
        if message["role"] == "user":
            buttons = "" if busy else _button("edit", message_id, "Edit", "Edit this message")
            shown.append(_bubble("user", escape(message["text"]), chips(message.get("emotion")) + _actions(buttons)))
            continue
        rating = ratings.get(message["message_id"])
        buttons = _button("like", message_id, "Helpful", "This reply is helpful", pressed=rating == "up")
        buttons += _button("dislike", message_id, "Not helpful", "This reply is not helpful", pressed=rating == "down")
        if message["message_id"] == last_reply and not busy:
            buttons += _button("retry", message_id, "Another reply", "Ask for another reply")
        ending = _ENDINGS.get(message.get("finish_reason") or "", "")
        note = f'<p class="note">{ending}</p>' if ending else ""
        shown.append(_bubble("assistant", escape(message["text"]), note + _actions(buttons)))
    return f'<ol class="messages" aria-label="Conversation">{"".join(shown)}</ol>'


def live_reply(text: str) -> str:
    """Return the reply as far as it is written."""
    words = f'<p class="text" dir="auto">{escape(text)}</p>' if text else '<p class="typing">Mira is writing…</p>'
    return f'<div class="message assistant" id="live-reply"><span class="who">Mira</span>{words}</div>'


def chips(emotion: Mapping[str, Any] | None) -> str:
    """Return the emotions of a message with their scores."""
    if not emotion:
        return ""
    items = "".join(
        f'<li class="{"sure" if emotion["confident"] else "unsure"}">{escape(found["label"])} <b>{found["score"]:.2f}</b></li>'
        for found in emotion["emotions"]
    )
    label = "Emotions in this message" if emotion["confident"] else "Emotions in this message, uncertain"
    return f'<ul class="chips" aria-label="{label}">{items}</ul>'


def banner(resources: Sequence[Mapping[str, str]]) -> str:
    """Return who can help now; nothing when nobody has to be named."""
    if not resources:
        return ""
    items = "".join(f"<li><strong>{escape(resource['name'])}</strong>: {_contact(resource)}</li>" for resource in resources)
    heading = "<h2>You can talk to a person now</h2>"
    return f'<section class="banner" tabindex="0" aria-label="People who can help now">{heading}<ul>{items}</ul></section>'


def mood(trajectory: Mapping[str, Any]) -> str:
    """Return the valence of the person's messages as a chart, and as a table for who does not see it."""
    turns = [turn for turn in trajectory.get("turns", ()) if turn["valence"] is not None]
    if not turns:
        return '<p class="hint">How you feel, message by message, appears here.</p>'
    state = _STATES[trajectory["state"]]
    rows = "".join(
        f"<tr><td>{number}</td><td>{escape(turn['primary'])}</td><td>{turn['valence']:+.2f}</td></tr>"
        for number, turn in enumerate(turns, start=1)
    )
    table = (
        "<details><summary>Show as a table</summary><table><thead><tr><th scope='col'>Message</th><th scope='col'>Strongest emotion</th>"
        f"<th scope='col'>Valence</th></tr></thead><tbody>{rows}</tbody></table></details>"
    )
    return (f'<p class="state">{state}</p>' if state else "") + _chart(turns[-_SHOWN_TURNS:]) + table


def _chart(turns: Sequence[Mapping[str, Any]]) -> str:
    step = (_WIDTH - 2 * _MARGIN) / max(1, len(turns) - 1)
    points = [(_MARGIN + index * step, _HEIGHT / 2 - turn["valence"] * (_HEIGHT / 2 - _MARGIN)) for index, turn in enumerate(turns)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points)
    label = f"Valence of the last {len(turns)} messages, from {turns[0]['valence']:+.2f} to {turns[-1]['valence']:+.2f}"
    return (
        f'<svg class="mood" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f'<line x1="0" y1="{_HEIGHT / 2}" x2="{_WIDTH}" y2="{_HEIGHT / 2}"/><polyline points="{line}"/>{dots}</svg>'
        '<p class="axis" aria-hidden="true"><span>above the line: positive</span><span>below: negative</span></p>'
    )


def _bubble(role: str, text: str, below: str) -> str:
    who = "You" if role == "user" else "Mira"
    return f'<li class="message {role}"><span class="who">{who}</span><p class="text" dir="auto">{text}</p>{below}</li>'


def _actions(buttons: str) -> str:
    return f'<div class="actions">{buttons}</div>' if buttons else ""


def _button(action: str, message_id: str, text: str, label: str, *, pressed: bool | None = None) -> str:
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    return f'<button type="button" data-action="{action}" data-id="{message_id}" aria-label="{label}"{state}>{text}</button>'


def _contact(resource: Mapping[str, str]) -> str:
    """Return how to reach somebody, with a link that is not said twice."""
    url, host = resource["url"], _host(resource["url"])
    said = "" if resource["contact"] == host else escape(resource["contact"]) + " "
    if not url.startswith("https://"):  # it may come back from a browser, where anybody can have changed it
        return said
    return f'{said}<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{escape(host)}</a>'


def _host(url: str) -> str:
    return url.split("://", 1)[-1].split("/", 1)[0]
