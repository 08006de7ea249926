"""Messages, a reply to each, and whether the reply's feeling fits: all invented here.

A row: the message, the emotion that it is taken for, a reply, and what becomes of it: kept, cheerful (dropped) or condoling (dropped).
HELD_OUT was written before there was any rule, and no rule was changed for one of its rows. TUNED was written with the rules.
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
    Row("The shelter gave our dog to somebody else.", "disappointment", "I wish it had gone the other way. Did you know him?", "kept"),
)
TUNED = (
    Row("My best friend moved to Chile.", "sadness", "That is awesome! Have you ever been there?", "cheerful"),
    Row("My best friend moved to Chile.", "sadness", "It's hard when someone is so far away. Do you still write?", "kept"),
    Row("I miss my grandmother every day.", "grief", "I love that. She sounds like so much fun.", "cheerful"),
    Row("I miss my grandmother every day.", "grief", "You must have had some good times. What do you miss most?", "kept"),
    Row("My boss shouted at me in front of everyone.", "anger", "Good job! You must be so happy.", "cheerful"),
    Row("My boss shouted at me in front of everyone.", "anger", "That's not right. Did anyone speak up for you?", "kept"),
    Row("I can't sleep, I keep worrying about money.", "nervousness", "That's a good question. What is the biggest worry?", "kept"),
    Row("I can't sleep, I keep worrying about money.", "nervousness", "Yay! I am so happy for you.", "cheerful"),
    Row("I forgot my son's recital.", "remorse", "I'm glad you feel bad about it, it shows that you care.", "kept"),
    Row("I forgot my son's recital.", "remorse", "That is pretty funny. Did you laugh?", "cheerful"),
    Row("He lied to me for months.", "disappointment", "I'm glad you have people to talk to. What did he say?", "kept"),
    Row("He lied to me for months.", "disappointment", "I'm glad to hear it. What did he say?", "cheerful"),
    Row("They cancelled the trip that I saved for.", "disappointment", "I bet you are excited! Where are you going?", "cheerful"),
    Row("They cancelled the trip that I saved for.", "disappointment", "That must be a letdown. Can you get the money back?", "kept"),
    Row("The neighbours' party kept me up all night.", "annoyance", "Sounds like a great time 😂", "cheerful"),
    Row("The neighbours' party kept me up all night.", "annoyance", "That would drive me up the wall. Did you knock?", "kept"),
    Row("There was a spider in my shoe.", "disgust", "Ew, what did you do?", "kept"),
    Row("There was a spider in my shoe.", "disgust", "What a nice surprise!", "cheerful"),
    Row("I called the teacher mum.", "embarrassment", "Oh, that happens to a lot of people. Did they say anything?", "kept"),
    Row("I'm afraid that I'll lose my flat.", "fear", "I don't think that's great at all. Is there someone who can help?", "kept"),
    Row("I'm afraid that I'll lose my flat.", "fear", "Have fun and enjoy it!", "cheerful"),
    Row("I'm afraid that I'll lose my flat.", "fear", "I'm so happy, but I'm sorry that you have to go through this.", "kept"),
    Row("My parrot died on Sunday.", "neutral", "That's great! What kind is it?", "cheerful"),
    Row("My husband left me for my cousin.", "surprise", "Wow, that's so sweet of him.", "cheerful"),
    Row("My husband left me for my cousin.", "surprise", "That's a lot to take in at once. When did he tell you?", "kept"),
    Row("I won the raffle at work!", "excitement", "Wow! What did you win?", "kept"),
    Row("I won the raffle at work!", "excitement", "That's awful. I hope things will get better.", "condoling"),
    Row("My daughter took her first steps.", "joy", "Aww, that's so sweet. How old is she?", "kept"),
    Row("My daughter took her first steps.", "joy", "Oh no! I'm sorry that happened.", "condoling"),
    Row("I beat cancer, the scan is all clear!", "joy", "That's the best news. How will you celebrate?", "kept"),
    Row("My friends threw me a surprise party.", "joy", "That's so nice of them!", "kept"),
    Row("I cooked soup for the first time.", "pride", "It must be hard to lose someone.", "condoling"),
    Row("I cooked soup for the first time.", "pride", "It was hard work, but I'm glad it turned out well.", "kept"),
    Row("Thank you for listening.", "gratitude", "Anytime. How are you now?", "kept"),
    Row("I'm going to the store.", "neutral", "What will you get there?", "kept"),
    Row("I don't know which course to take.", "confusion", "Good for you! I'm so proud.", "cheerful"),
    Row("I don't know which course to take.", "confusion", "That's a hard choice. What speaks for each?", "kept"),
    Row("My son is getting married on Saturday.", "excitement", "That is so exciting! I bet you can't wait.", "kept"),
    Row("My son is getting married on Saturday.", "excitement", "I am very sorry for your loss, stay strong.", "condoling"),
    Row("We had to put our dog to sleep.", "sadness", "What a beautiful name. I'm jealous!", "cheerful"),
)
