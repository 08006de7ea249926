"""Turns 28 probabilities into emotions: thresholds, primary label, valence. Pure; knows no model and no HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

EmotionGroup = Literal["joy", "sadness", "anger", "fear", "shame", "uncertainty", "neutral"]

# What a reply has in common for them: Ekman's six as the GoEmotions paper groups its labels (fig. 2, appendix), with remorse and
# embarrassment apart, because a person who blames themselves needs other words than one who has lost something.
EMOTION_GROUP: dict[str, EmotionGroup] = {
    **dict.fromkeys(
        (
            *("admiration", "amusement", "approval", "caring", "desire", "excitement", "gratitude"),
            *("joy", "love", "optimism", "pride", "relief"),
        ),
        "joy",
    ),
    **dict.fromkeys(("sadness", "grief", "disappointment"), "sadness"),
    **dict.fromkeys(("anger", "annoyance", "disapproval", "disgust"), "anger"),
    **dict.fromkeys(("fear", "nervousness"), "fear"),
    **dict.fromkeys(("remorse", "embarrassment"), "shame"),
    **dict.fromkeys(("confusion", "curiosity", "surprise", "realization"), "uncertainty"),
    "neutral": "neutral",
}

# The sign of each label is its sentiment group in the GoEmotions paper (Demszky et al., 2020, fig. 2); the four labels
# it calls ambiguous stay near zero. The sizes are ours, in steps: 0.9 for what fills a person, 0.7 for a plain feeling,
# 0.4 for a mild one.
VALENCE: dict[str, float] = {
    "admiration": 0.7,
    "amusement": 0.7,
    "anger": -0.7,
    "annoyance": -0.4,
    "approval": 0.4,
    "caring": 0.4,
    "confusion": -0.2,
    "curiosity": 0.1,
    "desire": 0.4,
    "disappointment": -0.7,
    "disapproval": -0.4,
    "disgust": -0.7,
    "embarrassment": -0.7,
    "excitement": 0.9,
    "fear": -0.7,
    "gratitude": 0.7,
    "grief": -0.9,
    "joy": 0.9,
    "love": 0.9,
    "nervousness": -0.4,
    "neutral": 0.0,
    "optimism": 0.7,
    "pride": 0.7,
    "realization": 0.0,
    "relief": 0.4,
    "remorse": -0.7,
    "sadness": -0.9,
    "surprise": 0.1,
}


@dataclass(frozen=True, slots=True)
class Emotion:
    """A label and its probability, 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class EmotionReading:
    """What one text expresses.

    Attributes:
        emotions: labels at or above their threshold, highest score first; the best label alone when none is.
        confident: whether any label reached its threshold.
        valence: from -1 (unpleasant) to 1 (pleasant).
    """

    emotions: tuple[Emotion, ...]
    confident: bool
    valence: float

    @property
    def primary(self) -> str:
        """The label with the highest score."""
        return self.emotions[0].label

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the wire contract; six digits of a score are more than its error."""
        return {
            "primary": self.primary,
            "confident": self.confident,
            "emotions": [{"label": emotion.label, "score": round(emotion.score, 6)} for emotion in self.emotions],
            "valence": round(self.valence, 4),
        }


def read_emotions(scores: Sequence[float], labels: Sequence[str], thresholds: Sequence[float], top_k: int | None = None) -> EmotionReading:
    """Decide which labels one text has.

    Args:
        scores: one probability per label; they are independent and need not sum to 1.
        labels: names, in the order of `scores`.
        thresholds: lowest score at which each label counts.
        top_k: most labels to return; None for all.

    The valence is the mean of the labels' valences, weighted by score, over the labels that count (before `top_k` cuts).
    Equal scores keep the order of `labels`.
    """
    chosen = [Emotion(label, score) for label, score, threshold in zip(labels, scores, thresholds, strict=True) if score >= threshold]
    confident = bool(chosen)
    if not confident:
        best = max(range(len(scores)), key=scores.__getitem__)
        chosen = [Emotion(labels[best], scores[best])]
    chosen.sort(key=lambda emotion: -emotion.score)
    weight = sum(emotion.score for emotion in chosen)
    valence = sum(emotion.score * VALENCE[emotion.label] for emotion in chosen) / weight if weight else 0.0
    return EmotionReading(tuple(chosen[:top_k]), confident, valence)
