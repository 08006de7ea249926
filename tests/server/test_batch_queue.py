from __future__ import annotations

import threading

import pytest
from empathetic_server.engines.batch_queue import CALL_TOKENS, BatchQueue, Ticket
from empathetic_server.engines.protocols import Priority
from empathetic_server.errors import BackendUnavailable, Overloaded
from hypothesis import given
from hypothesis import strategies as st


def queue(max_texts: int = 100, max_batch_tokens: int = 64, dropped: list[int] | None = None) -> BatchQueue[str]:
    record = [] if dropped is None else dropped
    return BatchQueue(max_texts, max_batch_tokens, on_drop=record.append)


def names(batch: list) -> list[str]:  # type: ignore[type-arg]
    return [f"{text.ticket.payload}{text.index}" for text in batch]


def test_texts_of_different_requests_share_a_batch_longest_first() -> None:
    waiting = queue()
    waiting.put(Ticket("a", [5, 7], "bulk"))
    waiting.put(Ticket("b", [6], "bulk"))
    assert names(waiting.take()) == ["a1", "b0", "a0"]


def test_rows_times_longest_row_stays_within_the_token_budget() -> None:
    waiting = queue(max_batch_tokens=16)
    waiting.put(Ticket("a", [8, 8, 8], "bulk"))
    assert [len(waiting.take()), len(waiting.take())] == [2, 1]


def test_a_text_longer_than_the_budget_goes_alone() -> None:
    waiting = queue(max_batch_tokens=16)
    waiting.put(Ticket("a", [100], "bulk"))
    assert names(waiting.take()) == ["a0"]


def test_a_long_text_is_not_padded_onto_short_ones() -> None:
    waiting = queue(max_batch_tokens=1000)
    waiting.put(Ticket("a", [2 * CALL_TOKENS, 3], "bulk"))
    assert [names(waiting.take()), names(waiting.take())] == [["a0"], ["a1"]]


def test_padding_that_costs_less_than_a_call_is_taken() -> None:
    waiting = queue(max_batch_tokens=1000)
    waiting.put(Ticket("a", [5 * CALL_TOKENS, 5 * CALL_TOKENS - 1], "bulk"))
    assert names(waiting.take()) == ["a0", "a1"]


def test_the_oldest_text_joins_longer_ones_where_that_is_cheaper_than_going_first_alone() -> None:
    waiting = queue(max_batch_tokens=1000)
    waiting.put(Ticket("old", [18], "bulk"))
    waiting.put(Ticket("new", [20, 60, 20, 5], "bulk"))
    assert [names(waiting.take()), names(waiting.take()), names(waiting.take())] == [["new0", "new2", "old0"], ["new1"], ["new3"]]


def test_texts_between_the_longest_and_the_oldest_may_leave_it_no_room() -> None:
    waiting = queue(max_batch_tokens=60)
    waiting.put(Ticket("old", [18], "bulk"))
    waiting.put(Ticket("new", [20, 20, 20], "bulk"))
    first = names(waiting.take())
    assert first == ["old0"]
    assert names(waiting.take()) == ["new0", "new1", "new2"]


def test_interactive_overtakes_bulk() -> None:
    waiting = queue()
    waiting.put(Ticket("bulk", [4], "bulk"))
    waiting.put(Ticket("chat", [4], "interactive"))
    assert [names(waiting.take()), names(waiting.take())] == [["chat0"], ["bulk0"]]


def test_the_oldest_text_is_always_served_first_whatever_its_length() -> None:
    waiting = queue(max_batch_tokens=60)
    waiting.put(Ticket("old", [60], "bulk"))
    waiting.put(Ticket("new", [4] * 20, "bulk"))
    assert names(waiting.take()) == ["old0"]


def test_a_request_that_does_not_fit_is_refused_whole_and_told_when_to_return() -> None:
    waiting = queue(max_texts=3)
    waiting.put(Ticket("a", [4, 4], "bulk"))
    waiting.computed(texts=1, seconds=2.0)
    with pytest.raises(Overloaded) as refusal:
        waiting.put(Ticket("b", [4, 4], "bulk"))
    assert refusal.value.retry_after_s == 4  # two texts wait, half a text a second
    assert waiting.waiting("bulk") == 2


def test_an_interactive_request_is_admitted_while_bulk_is_full() -> None:
    waiting = queue(max_texts=1)
    waiting.put(Ticket("a", [4], "bulk"))
    waiting.put(Ticket("b", [4], "interactive"))
    assert names(waiting.take()) == ["b0"]


def test_an_empty_queue_admits_a_request_above_its_limit() -> None:
    waiting = queue(max_texts=1)
    waiting.put(Ticket("a", [4, 4], "bulk"))
    assert waiting.waiting("bulk") == 2


def test_a_dropped_request_frees_its_places_and_is_not_computed() -> None:
    dropped: list[int] = []
    waiting = queue(max_texts=2, dropped=dropped)
    gone = Ticket("gone", [4, 4], "bulk")
    waiting.put(gone)
    waiting.drop(gone)
    waiting.drop(gone)
    waiting.put(Ticket("next", [4, 4], "bulk"))
    assert names(waiting.take()) == ["next0", "next1"]
    assert dropped == [2]


def test_clearing_returns_what_was_waiting_and_goes_on() -> None:
    dropped: list[int] = []
    waiting = queue(dropped=dropped)
    ticket = Ticket("a", [4, 30], "bulk")
    waiting.put(ticket)
    assert waiting.clear() == [ticket]
    assert (waiting.take(wait=False), dropped) == ([], [2])
    waiting.put(Ticket("b", [4], "bulk"))
    assert names(waiting.take(wait=False)) == ["b0"]


def test_closing_returns_what_was_waiting_and_refuses_more() -> None:
    waiting = queue()
    ticket = Ticket("a", [4, 30], "bulk")
    waiting.put(ticket)
    assert waiting.close() == [ticket]
    assert waiting.take() == []
    with pytest.raises(BackendUnavailable):
        waiting.put(Ticket("b", [4], "bulk"))


def test_closing_wakes_a_waiting_compute_thread() -> None:
    waiting, batches = queue(), []
    thread = threading.Thread(target=lambda: batches.append(waiting.take()))
    thread.start()
    waiting.close()
    thread.join(10)
    assert batches == [[]]


@given(
    st.lists(st.tuples(st.lists(st.integers(1, 128), min_size=1, max_size=20), st.sampled_from(["interactive", "bulk"])), max_size=10),
    st.integers(1, 300),
    st.none() | st.integers(1, 20),
    st.data(),
)
def test_every_text_is_served_once_and_every_batch_is_within_bounds(
    tickets: list[tuple[list[int], Priority]], budget: int, rows: int | None, data: st.DataObject
) -> None:
    waiting: BatchQueue[int] = BatchQueue(10_000, budget, max_batch_texts=rows)
    admitted = [Ticket(number, lengths, priority) for number, (lengths, priority) in enumerate(tickets)]
    for ticket in admitted:
        waiting.put(ticket)
    dropped = data.draw(st.sets(st.sampled_from(range(len(admitted))))) if admitted else set()
    for number in dropped:
        waiting.drop(admitted[number])
    left = [(t.priority, t.payload, index) for t in admitted if t.payload not in dropped for index in range(len(t.lengths))]
    served = []
    while waiting.waiting("interactive") or waiting.waiting("bulk"):
        batch = waiting.take()
        lengths = [text.length for text in batch]
        assert lengths == sorted(lengths, reverse=True)
        assert len(batch) == 1 or len(batch) * lengths[0] <= budget
        assert rows is None or len(batch) <= rows
        taken = [(text.ticket.priority, text.ticket.payload, text.index) for text in batch]
        first = min(left, key=lambda text: (text[0] == "bulk", text[1:]))
        assert first in taken  # the oldest of those that come first
        assert {priority for priority, *_ in taken} == {first[0]}
        left = [text for text in left if text not in taken]
        served += [text[1:] for text in taken]
    expected = [(t.payload, i) for t in admitted if t.payload not in dropped for i in range(len(t.lengths))]
    assert sorted(served) == sorted(expected)
