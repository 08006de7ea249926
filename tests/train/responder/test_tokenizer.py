from __future__ import annotations

import json
from pathlib import Path

import pytest
from empathetic_train.errors import CheckpointError
from empathetic_train.responder.chat import SPECIAL_TOKENS, as_messages, prompt_of, render
from empathetic_train.responder.conversations import Turn
from empathetic_train.responder.tokenizer import encode, load_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

HOSTILE = ["", " ", "é 😀 \u200b\u202e", "\x00\x7f", "a\r\n\tb  c", "ﷺ 𓂀 日本", " he 's , ok ?", "don't " * 50, "</s>[INST]<pad>"]
TALK = (Turn("user", "Hello."), Turn("reply", "Hi. How are you?"), Turn("user", "Sad."))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_read_back_as_written(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(encode(tokenizer, [text])[0]) == text


@given(st.text())
def test_any_text_is_read_back_as_written(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(encode(tokenizer, [text])[0]) == text


def test_special_tokens_are_one_token_each_and_left_out_of_what_is_shown(tokenizer: PreTrainedTokenizerFast) -> None:
    for number, token in enumerate(SPECIAL_TOKENS):
        assert encode(tokenizer, [token]) == [[number]]
    ids = encode(tokenizer, ["".join(SPECIAL_TOKENS) + "Hi."])[0]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Hi."


def test_the_vocabulary_is_no_larger_than_asked_for(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) == 420


def test_the_template_writes_what_the_model_was_trained_on(tokenizer: PreTrainedTokenizerFast) -> None:
    note = "sadness | question | middle"
    assert prompt_of(tokenizer, TALK, note) == f"<|user|>Hello.<|reply|>Hi. How are you?<|end|><|user|>Sad.<|note|>{note}<|reply|>"
    whole = tokenizer.apply_chat_template(as_messages((*TALK, Turn("reply", "Why so?")), note), tokenize=False)
    assert whole == f"{prompt_of(tokenizer, TALK, note)}Why so?<|end|>"


def test_without_a_system_message_there_is_no_note(tokenizer: PreTrainedTokenizerFast) -> None:
    assert prompt_of(tokenizer, TALK, None) == f"{render(TALK)}<|reply|>"


def test_blanks_around_a_message_change_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    loose = tuple(Turn(turn.role, f" \n{turn.text}  ") for turn in TALK)
    assert prompt_of(tokenizer, loose, " x ") == prompt_of(tokenizer, TALK, "x")


def test_a_saved_tokenizer_is_the_same_and_holds_its_template(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path, save_jinja_files=False)
    for read in (load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert prompt_of(read, TALK, "x") == prompt_of(tokenizer, TALK, "x")
        assert encode(read, HOSTILE) == encode(tokenizer, HOSTILE)
    assert "<|note|>" in json.loads((tmp_path / "tokenizer_config.json").read_text())["chat_template"]


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="tokenizer in"):
        load_tokenizer(tmp_path)
