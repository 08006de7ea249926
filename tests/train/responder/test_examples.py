from __future__ import annotations

import random

import pytest
from empathetic_train.responder import sources
from empathetic_train.responder.chat import END, REPLY
from empathetic_train.responder.conversations import Conversation, Turn
from empathetic_train.responder.documents import pretraining_documents, tuning_documents
from empathetic_train.responder.examples import Example, find_examples, vary_notes, write_notes
from empathetic_train.responder.notes import Feelings
from empathetic_train.responder.packing import IGNORED, pack
from empathetic_train.responder.sources import Sources
from transformers import PreTrainedTokenizerFast

TALK = Conversation(
    sources.ED,
    (
        Turn("reply", "Before anybody asked."),
        Turn("user", "my goat sang"),
        Turn("reply", "oh , what did it sing ?"),
        Turn("user", "a waltz"),
        Turn("user", "in the rain"),
        Turn("reply", "Fun."),
    ),
)


def test_each_reply_to_somebody_is_an_example_with_all_before_it() -> None:
    first, second = find_examples([TALK], every_reply=True)
    assert first == Example((Turn("user", "my goat sang"),), "Oh, what did it sing?", "question")
    assert [turn.text for turn in second.context] == ["my goat sang", "Oh, what did it sing?", "a waltz in the rain"]
    assert second.reply == "Fun."


def test_replies_too_short_or_too_long_are_not_learned_but_measured() -> None:
    essay = Conversation(sources.COUNSEL, (Turn("user", "Ducks?"), Turn("reply", "Ducks are birds. " * 9)))
    endless = Conversation(sources.COUNSEL, (Turn("user", "Ducks?"), Turn("reply", "ducks " * 200)))
    assert [example.reply for example in find_examples([TALK])] == ["Oh, what did it sing?"]
    assert [example.reply for example in find_examples([essay, endless])] == ["Ducks are birds. Ducks are birds. Ducks are birds."]
    assert len(find_examples([TALK, essay, endless], every_reply=True)) == 4


def test_only_supportive_sources_give_examples(found: Sources) -> None:
    chatter = [conversation for conversation in found.conversations if conversation.source in (sources.SELF, sources.TASKS)]
    assert chatter
    assert find_examples(chatter) == []


def test_notes_say_what_the_server_would_say() -> None:
    feelings = {"my goat sang": Feelings(("joy",), confident=True), "a waltz in the rain": Feelings(("sadness",), confident=False)}
    notes = [example.note for example in write_notes(find_examples([TALK], every_reply=True), feelings)]
    assert notes == ["joy | question | initial", "sadness? | affirm | middle"]


def test_notes_vary_and_a_name_is_said_only_where_the_note_has_it() -> None:
    example = find_examples([Conversation(sources.ED, (Turn("user", "hm"), Turn("reply", "That is a shame. Tell me more.")))])
    varied = vary_notes(example * 2000, {"hm": Feelings(("sadness",), confident=True)}, random.Random(0))  # noqa: S311  # test data
    called = [found for found in varied if found.reply != example[0].reply]
    assert 0.02 < len(called) / len(varied) < 0.2
    assert all(found.note and found.reply == f"That is a shame, {found.note.split(' | ')[3]}. Tell me more." for found in called)
    assert {None, "unknown"} <= {found.note and found.note.split(" | ")[0] for found in varied}


def test_only_the_reply_is_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    example = Example((Turn("user", "my goat sang"),), "Oh, what did it sing?", "question", "joy | question | initial")
    row = pack(tuning_documents([example], tokenizer, 128), 128, tokenizer.pad_token_id)[0]
    learned = row["labels"] != IGNORED
    assert tokenizer.decode(row["input_ids"][learned]) == f"{example.reply}{END}"
    assert tokenizer.decode(row["input_ids"][: int(learned.nonzero()[0])]).endswith(REPLY)


def test_a_long_context_loses_its_oldest_turns(tokenizer: PreTrainedTokenizerFast) -> None:
    long = tuple(Turn("user" if number % 2 == 0 else "reply", f"turn {number} " * 10) for number in range(9))
    (document,) = tuning_documents([Example(long, "Go on.", "chat", "joy | chat | initial")], tokenizer, 128)
    text = tokenizer.decode(document.ids)
    assert len(document.ids) <= 128
    assert text.startswith("<|user|>turn")
    assert "turn 0" not in text
    assert "turn 8" in text
    assert text.endswith("<|note|>joy | chat | initial<|reply|>Go on.<|end|>")


def test_an_example_whose_message_does_not_fit_is_left_out(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tuning_documents([Example((Turn("user", "goat " * 500),), "Go on.", "chat")], tokenizer, 128) == []


@pytest.mark.parametrize("row_tokens", [32, 128])
def test_pretraining_keeps_every_token(found: Sources, tokenizer: PreTrainedTokenizerFast, row_tokens: int) -> None:
    texts = [f"<|text|>{passage}" for passage in found.books]
    documents = pretraining_documents(texts, tokenizer, row_tokens)
    assert tokenizer.decode([token for document in documents for token in document.ids]) == "".join(texts)
