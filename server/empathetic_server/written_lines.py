"""The wording of the written replies. An acknowledgement is followed by a move; every pair of one family must read well together.

Rules: short, plain, warm; no name, no promise, no advice about health, nothing assumed about facts, none of the formulas that the
reply cleaner takes out of a model's mouth.
"""

from __future__ import annotations

from typing import Literal

from .emotions import EmotionGroup
from .strategies import Strategy
from .trajectory import State

Family = Literal["joyful", "painful", "open"]

FAMILY: dict[EmotionGroup, Family] = {
    "joy": "joyful",
    "sadness": "painful",
    "anger": "painful",
    "fear": "painful",
    "shame": "painful",
    "uncertainty": "open",
    "neutral": "open",
}

ACKNOWLEDGEMENTS: dict[EmotionGroup, tuple[str, ...]] = {
    "joy": (
        "Oh, that's lovely to hear.",
        "That made me smile.",
        "What a good thing to read.",
        "I like the sound of that.",
        "There's real warmth in how you say that.",
        "That deserves a moment.",
        "How nice.",
    ),
    "sadness": (
        "I'm sorry, that sounds really heavy.",
        "Oh, that hurts to read.",
        "That's a lot to carry.",
        "I'm so sorry it's like this right now.",
        "There's so much sadness in that.",
        "That must weigh on you.",
        "Thank you for telling me something so hard.",
    ),
    "anger": (
        "Ugh, that sounds infuriating.",
        "No wonder that gets to you.",
        "That would make a lot of people angry.",
        "I can see why you're fed up.",
        "That really crossed a line for you.",
        "What a maddening thing to deal with.",
        "You have every reason to be annoyed about that.",
    ),
    "fear": (
        "That sounds frightening.",
        "I can see why that keeps you on edge.",
        "Not knowing how it goes is hard to sit with.",
        "That's a scary thing to have hanging over you.",
        "It makes sense that this worries you.",
        "That kind of worry takes up a lot of room.",
        "No wonder your mind keeps going back to it.",
    ),
    "shame": (
        "That took some courage to say.",
        "You're being pretty hard on yourself.",
        "That sounds like it stings.",
        "I'm glad you said it out loud, even if it's uncomfortable.",
        "It clearly matters to you to do right.",
        "Those moments have a way of replaying themselves.",
        "That's a rough feeling to be left with.",
    ),
    "uncertainty": (
        "Hm, that's a lot of open ends.",
        "That's an odd spot to be in.",
        "I can see why you're turning that over.",
        "That would leave me with questions, too.",
        "Interesting. There seems to be more behind it.",
        "That's not an easy one to read.",
        "It's fine not to have it figured out yet.",
    ),
    "neutral": (
        "Thanks for telling me.",
        "Okay, I'm with you so far.",
        "Got it.",
        "I see.",
        "Alright, that helps me picture it.",
        "Good to know.",
        "Mm, okay.",
    ),
}

# Instead of the acknowledgement, now and then, when the emotions have moved.
CHANGES: dict[Family, dict[State, tuple[str, ...]]] = {
    "joyful": {
        "improving": ("It sounds a bit lighter than before.", "Something seems to have shifted for the better.", "You sound brighter now.")
    },
    "painful": {
        "improving": ("It's still hard, but it sounds a little less heavy than before.", "I notice a bit more air in what you write now."),
        "declining": (
            "This seems to have hit you harder than what came before.",
            "That sounds like it pulled you down.",
            "That's a different tone than a moment ago.",
        ),
    },
    "open": {
        "improving": ("You sound a bit calmer than before.", "That sounds a little more settled."),
        "declining": ("You sound a bit flatter than before.", "Something about this seems to weigh more than you let on."),
    },
}

MOVES: dict[Strategy, dict[Family, tuple[str, ...]]] = {
    "question": {
        "joyful": (
            "What was the best part?",
            "How did it come about?",
            "Who did you tell first?",
            "What does it mean to you?",
            "What are you looking forward to most now?",
            "How long has this been coming?",
        ),
        "painful": (
            "What has been the hardest part?",
            "How long has it been like this?",
            "Is there someone around you who knows?",
            "What goes through your mind when it's at its worst?",
            "Do you want to tell me what happened?",
            "What would make today a little easier?",
        ),
        "open": (
            "What's on your mind most right now?",
            "How do you feel about it?",
            "What made you think of it today?",
            "Do you want to tell me more?",
            "What would you like to happen next?",
            "Where does that leave you?",
        ),
    },
    "restate": {
        "joyful": (
            "So something good has come your way, and it's sinking in.",
            "So this is one of the good days.",
            "It sounds like this really went your way.",
            "So there's something worth celebrating.",
            "If I read you right, this means a lot to you.",
        ),
        "painful": (
            "If I understand you, it's not just one thing, it keeps pressing on you.",
            "So you've been dealing with this, and it isn't letting up.",
            "It sounds like this has taken over a good part of your day.",
            "So this is where things stand, and it's not okay as it is.",
            "If I read you right, you'd just like it to stop hurting for a while.",
        ),
        "open": (
            "If I follow you, you're still making up your mind.",
            "So that's where things stand for now.",
            "If I read you right, there's a bit more to it.",
            "So you're somewhere in the middle of this.",
            "It sounds like you're taking stock.",
        ),
    },
    "reflect": {
        "joyful": (
            "You sound really happy about it.",
            "There's some pride in there, isn't there?",
            "I can almost hear the relief in it.",
            "It sounds like it gave you a lift.",
            "You seem touched by it.",
        ),
        "painful": (
            "It sounds lonely, too.",
            "I get the sense that you're worn out by it.",
            "Part of you seems to wish somebody would just notice.",
            "It sounds like it has shaken you more than you expected.",
            "I imagine it's tiring to keep going with that inside.",
        ),
        "open": (
            "I get the sense that you're not quite sure what to feel.",
            "You sound thoughtful about it.",
            "Part of you seems to be waiting for something.",
            "It sounds like it's still moving around in your head.",
            "You seem to be of two minds.",
        ),
    },
    "affirm": {
        "joyful": (
            "You can be proud of that.",
            "I hope you let yourself enjoy it properly.",
            "It's good that you noticed it instead of rushing on.",
            "You earned this one.",
            "Moments like that are worth keeping.",
        ),
        "painful": (
            "You've been getting through this, and that counts for something.",
            "It says something good about you that you can put it into words.",
            "Anybody would struggle with that.",
            "You don't have to have it all under control today.",
            "Talking about it at all isn't easy, and you did.",
        ),
        "open": (
            "You're looking at it quite clearly, I think.",
            "There's no hurry to decide anything.",
            "It's good that you take a moment to think about it.",
            "You don't need to have an answer right now.",
            "You seem to know yourself quite well.",
        ),
    },
    "suggest": {
        "joyful": (
            "Maybe write down how today felt, for a greyer day.",
            "Is there somebody you'd like to share it with tonight?",
            "You could do one small thing to mark it, just for you.",
            "Maybe let somebody who helped you know, too.",
            "You could take ten quiet minutes just to enjoy it.",
        ),
        "painful": (
            "Would it help to tell one person you trust, even just a sentence?",
            "Maybe there's one small thing you could leave for tomorrow and rest instead.",
            "Some people find it easier after writing it all down without editing. Would that suit you?",
            "A short walk or some fresh air won't fix it, but it can loosen the knot a little.",
            "Maybe pick the smallest piece of it and look at only that today. Which would it be?",
        ),
        "open": (
            "Maybe list what speaks for it and what against, and see which list is easier to write.",
            "You could sleep on it and see how it looks in the morning.",
            "Maybe ask somebody who knows you well how they see it.",
            "You could try the smallest version of it first.",
            "Maybe give it a little time and notice what you keep coming back to.",
        ),
    },
    "inform": {
        "joyful": (
            "Telling somebody about good news tends to make it last longer.",
            "Good moments stick better when we stop and look at them for a bit.",
            "People often forget the good days first, so it's worth noting this one.",
            "Sharing a thing like that often does the other person good, too.",
            "Small celebrations really do help a good thing to sink in.",
        ),
        "painful": (
            "I can't know the right answer for you, but strong feelings do come in waves, and waves pass.",
            "I don't have a quick answer, but things like this often get a bit easier once somebody else knows.",
            "I can't tell you what to do, but a doctor or counselor could look at it with you properly.",
            "There's no normal speed for this; it's often two steps forward and one back.",
            "I'm not the one to decide that for you, but putting it into words often shows what matters most.",
        ),
        "open": (
            "I can't know for sure, but there's usually more than one good answer to that.",
            "I don't know enough to say, but what you keep coming back to is often a good hint.",
            "I can't decide that for you, but it rarely has to be settled in one go.",
            "I'm not certain about that one; somebody who knows the details could tell you more.",
            "There's no single right way, and changing your mind later is usually possible.",
        ),
    },
}

INTRODUCED = (
    "Nice to meet you. What's on your mind today?",
    "It's good to meet you. How has your day been so far?",
    "Lovely to meet you. What would you like to talk about?",
    "Glad you're here. How are you doing today?",
)
NAME_REFUSED = (
    "That's completely fine, no name needed. What's on your mind?",
    "No problem at all. How are things with you today?",
    "Of course, you don't have to. What would you like to talk about?",
    "That's okay. How has your day been?",
)
