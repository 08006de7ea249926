"""Messages, a reply to each, and whether the reply's feeling fits: all invented here.

A row: the message, the emotion that it is taken for, a reply, and what becomes of it: kept, cheerful (dropped) or condoling (dropped).
HELD_OUT was written before there was any rule, and no rule was changed for it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["kept", "cheerful", "condoling"]


class Row(NamedTuple):
    """One judgement."""

    message: str
    emotion: str
    reply: str
    verdict: Verdict


HELD_OUT = (
    Row("My girlfriend broke up with me last night.", "sadness", "That is so sweet. What happened?", "cheerful"),
    Row("My girlfriend broke up with me last night.", "sadness", "Oh no, I'm sorry. How long were you together?", "kept"),
    Row("Our old cat died this morning.", "grief", "Aww, that's so cute! What's her name?", "cheerful"),
    Row("Our old cat died this morning.", "grief", "I'm so sorry. What was she like?", "kept"),
    Row("I failed my driving test again.", "disappointment", "Congratulations! You must be so proud.", "cheerful"),
    Row("I failed my driving test again.", "disappointment", "That is frustrating. Will you try again?", "kept"),
    Row("They let me go after nine years.", "sadness", "Wow, that's awesome. What will you do?", "cheerful"),
    Row("They let me go after nine years.", "sadness", "Nine years is a long time. What went through your mind?", "kept"),
    Row("I'm scared of the operation on Monday.", "fear", "That sounds like fun, I hope you have a great time!", "cheerful"),
    Row("I'm scared of the operation on Monday.", "fear", "I hope it goes well. Is anyone going with you?", "kept"),
    Row("My brother hasn't talked to me for a year.", "sadness", "I'm glad to hear that. Family is great.", "cheerful"),
    Row("My brother hasn't talked to me for a year.", "sadness", "I'm glad you told me. That must hurt a lot.", "kept"),
    Row("Somebody stole my bike from the yard.", "anger", "Haha, that is hilarious.", "cheerful"),
    Row("Somebody stole my bike from the yard.", "anger", "I would be so mad! Did you call the police?", "kept"),
    Row("I said something horrible to my mother.", "remorse", "It's good that you care about it. Have you talked to her since?", "kept"),
    Row("I said something horrible to my mother.", "remorse", "That's really nice of you. She must be happy.", "cheerful"),
    Row("Nobody came to my birthday.", "sadness", "Happy birthday! I hope you had a lot of fun.", "cheerful"),
    Row("Nobody came to my birthday.", "sadness", "That must have felt so lonely.", "kept"),
    Row("My roommate reads my letters.", "annoyance", "That's good. I love that kind of thing.", "cheerful"),
    Row("My roommate reads my letters.", "annoyance", "That's not okay at all. Have you told them?", "kept"),
    Row("I tripped in front of the whole class.", "embarrassment", "Lol, I can't wait to hear more!", "cheerful"),
    Row("I tripped in front of the whole class.", "embarrassment", "It would be nice if they had helped you. Are you okay?", "kept"),
    Row("Dad is in hospital and they don't know why.", "nervousness", "I'm so excited for you.", "cheerful"),
    Row("Dad is in hospital and they don't know why.", "nervousness", "Waiting without an answer is hard. How are you holding up?", "kept"),
    Row("I got into the choir I wanted!", "joy", "Congratulations! When do you start?", "kept"),
    Row("I got into the choir I wanted!", "joy", "I'm so sorry for your loss.", "condoling"),
    Row("My sister is coming home after three years.", "excitement", "That's wonderful. What will you do together?", "kept"),
    Row("My sister is coming home after three years.", "excitement", "That is terrible. I hope you feel better soon.", "condoling"),
    Row("I finally paid off my debts.", "relief", "Oh no, that's too bad. Hang in there.", "condoling"),
    Row("I finally paid off my debts.", "relief", "That must be a weight off your shoulders.", "kept"),
    Row("My neighbour shovelled our snow without asking.", "gratitude", "That was so kind of them!", "kept"),
    Row("My neighbour shovelled our snow without asking.", "gratitude", "That sucks. It must be so hard for you.", "condoling"),
    Row("I ran ten miles today and I'm proud.", "pride", "Sorry to hear that. Did it get any better?", "condoling"),
    Row("I ran ten miles today and I'm proud.", "pride", "That takes a lot of hard work. How do you feel now?", "kept"),
    Row("I moved to a new town in May.", "neutral", "That's great! How do you like it?", "kept"),
    Row("I moved to a new town in May.", "neutral", "That can be hard. Do you know anyone there?", "kept"),
    Row("I keep thinking about my exam.", "nervousness", "You will do great! How did you prepare?", "kept"),
    Row("I keep thinking about my exam.", "nervousness", "Good for you! That is a wonderful feeling.", "cheerful"),
    Row("The shelter gave our dog to somebody else.", "disappointment", "You are so lucky! Enjoy it.", "cheerful"),
    Row("The shelter gave our dog to somebody else.", "disappointment", "I wish it had gone the other way. Were you attached to him?", "kept"),
)
