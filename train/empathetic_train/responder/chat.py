"""The one chat template of the responder, and the tokens that only it may write. Pure; knows no tokenizer.

    <|user|>Hello.<|reply|>Hi. How are you?<|end|><|user|>Sad.<|note|>sadness | question | middle<|reply|>Why so?<|end|>

A reply alone has an end, because only its end is ever generated. The system message becomes the note, right before the last reply, where
a small model heeds it most (`notes`). A book's passage begins with <|text|>.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .conversations import Turn

PAD, END, USER, NOTE, REPLY, TEXT = "<|pad|>", "<|end|>", "<|user|>", "<|note|>", "<|reply|>", "<|text|>"
SPECIAL_TOKENS = (PAD, END, USER, NOTE, REPLY, TEXT)

_SYSTEM = f"{{% for n in messages %}}{{% if n['role'] == 'system' %}}{NOTE}{{{{ n['content'] | trim }}}}{{% endif %}}{{% endfor %}}"
# Plain enough for every engine: onnxruntime-genai has a template language of its own, which knows only a part of Jinja's.
TEMPLATE = (
    "{% for m in messages %}"
    f"{{% if m['role'] == 'user' %}}{USER}{{{{ m['content'] | trim }}}}"
    f"{{% elif m['role'] == 'assistant' %}}{{% if loop.last %}}{_SYSTEM}{{% endif %}}{REPLY}{{{{ m['content'] | trim }}}}{END}"
    "{% endif %}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{_SYSTEM}{REPLY}{{% endif %}}"
)


def as_messages(turns: Sequence[Turn], note: str | None = None) -> list[dict[str, str]]:
    """Return turns in the form that chat templates take."""
    said = [{"role": "user" if turn.role == "user" else "assistant", "content": turn.text} for turn in turns]
    return [{"role": "system", "content": note}, *said] if note else said


def render(turns: Sequence[Turn]) -> str:
    """Return a conversation as the template would write it without a note, for texts in large numbers."""
    return "".join(f"{USER}{turn.text.strip()}" if turn.role == "user" else f"{REPLY}{turn.text.strip()}{END}" for turn in turns)


def prompt_of(tokenizer: Any, turns: Sequence[Turn], note: str | None) -> str:
    """Return the prompt that the reply to the last turn follows, by the template of a tokenizer."""
    return str(tokenizer.apply_chat_template(as_messages(turns, note), tokenize=False, add_generation_prompt=True))
