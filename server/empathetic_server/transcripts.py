"""A conversation as a file for the person who had it. Pure; knows no HTTP."""

from __future__ import annotations

from typing import Any

from . import persona
from .sessions.protocols import Conversation


def to_json(conversation: Conversation) -> dict[str, Any]:
    """Return the object that the tutorial project saves, with the same names; ids, finish reasons and the name are added."""
    session = conversation.session
    history: list[dict[str, Any]] = [{"role": "assistant", "text": session.greeting, "timestamp": session.created_at}]
    for message in conversation.messages:
        entry: dict[str, Any] = {
            "role": message.role,
            "text": message.text,
            "timestamp": message.created_at,
            "message_id": message.message_id,
        }
        if message.emotion is not None:
            entry["emotions"] = [{"emotion": found["label"], "score": found["score"]} for found in message.emotion["emotions"]]
        if message.finish_reason is not None:
            entry["finish_reason"] = message.finish_reason
        history.append(entry)
    return {
        "session_id": session.session_id,
        "user_name": session.user_name,
        "start_time": session.created_at,
        "end_time": session.updated_at,
        "conversation_history": history,
        "emotion_trajectory": [message.emotion["primary"] for message in conversation.messages if message.emotion is not None],
        "user_feedback": [
            {"message_id": given.message_id, "rating": given.rating, "comments": given.comment, "timestamp": given.created_at}
            for given in conversation.feedback
        ],
    }


def to_markdown(conversation: Conversation) -> str:
    """Return the conversation to read; every line of a text is quoted, so that nothing in it becomes markup of ours."""
    session = conversation.session
    person = session.user_name or "You"
    parts = [f"# A conversation with {persona.NAME}", f"{session.created_at}", f"**{persona.NAME}**\n\n{_quote(session.greeting)}"]
    ratings = {given.message_id: given for given in conversation.feedback}
    for message in conversation.messages:
        heading = f"**{persona.NAME if message.role == 'assistant' else person}** · {message.created_at}"
        if message.emotion is not None:
            heading += " · " + ", ".join(f"{found['label']} {found['score']:.2f}" for found in message.emotion["emotions"])
        parts.append(f"{heading}\n\n{_quote(message.text)}")
        if given := ratings.get(message.message_id):
            parts.append(f"Feedback: {given.rating}" + (f"\n\n{_quote(given.comment)}" if given.comment else ""))
    return "\n\n".join(parts) + "\n"


def _quote(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.split("\n"))
