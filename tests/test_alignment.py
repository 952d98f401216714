"""Which lines of two texts belong together."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainir.frontend.tools import alignment
from brainir.frontend.tools.alignment import aligned
from brainir.frontend.tools.report.alignment import aligned_texts

texts = st.lists(st.sampled_from("abcdef"))


@pytest.fixture(autouse=True, params=[0, alignment.SMALL], ids=["by anchors", "small"])
def whatever_is_small(request, monkeypatch):
    monkeypatch.setattr(alignment, "SMALL", request.param)


def equal_lines(blocks):
    return sum(block.stop_a - block.start_a for block in blocks if block.tag == "equal")


@given(texts, texts)
def test_blocks_cover_both_texts_in_order_and_say_what_is_equal(a, b):
    blocks = aligned(a, b)
    assert [line for _, i, j, _, _ in blocks for line in a[i:j]] == a
    assert [line for _, _, _, k, m in blocks for line in b[k:m]] == b
    for tag, i, j, k, m in blocks:
        assert (
            tag
            == {
                (True, True): "equal" if a[i:j] == b[k:m] else "replace",
                (True, False): "delete",
                (False, True): "insert",
            }[j > i, m > k]
        )


@given(texts)
def test_a_text_is_equal_to_itself(text):
    assert equal_lines(aligned(text, text)) == len(text)


@given(texts, texts, texts)
def test_what_two_texts_begin_and_end_with_is_equal(head, inside, tail):
    assert equal_lines(aligned([*head, *inside, *tail], [*head, *tail])) >= len(head + tail)


def test_a_long_text_of_few_kinds_of_lines_is_aligned_around_its_changes():
    source = random.Random(0)
    before = [source.choice("abcd") for _ in range(20_000)]
    after = list(before)
    for i in range(0, len(after), 40):
        after[i] = "new"
    assert equal_lines(aligned(before, after)) == len(before) - len(before) // 40


def test_a_long_text_that_repeats_itself_is_aligned():
    assert equal_lines(aligned([*"abc"] * 3000, [*"abd"] * 3000)) == 6000


# --- texts of graphs ------------------------------------------------------------------------------


def rebuilt(blocks, before, after):
    first = [line for tag, i, j, _, _ in blocks if tag != "insert" for line in before[i:j]]
    second = [line for tag, _, _, k, m in blocks if tag != "delete" for line in after[k:m]]
    return first, second


lines = st.lists(st.sampled_from(["%1 = sin %0", "%2 = sin %1", "%x = cos %y", "}", ""]))


@given(lines, lines)
def test_aligned_blocks_cover_both_texts_in_order(before, after):
    assert rebuilt(aligned_texts(before, after), before, after) == (before, after)


@given(lines)
def test_a_text_is_equal_to_itself_with_other_numbers(text):
    other = [re.sub(r"%(\d)", r"%1\1", line) for line in text]
    assert all(tag == "equal" for tag, *_ in aligned_texts(text, other))
