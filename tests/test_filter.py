"""Filters choose by kind, tag and path, and combine like sets."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainir.frontend import filter


class Tagged:
    def __init__(self, tag):
        self.tag = tag


ITEMS = [
    ((), 1),
    (("cell", "V"), 2.5),
    (("layers", 0, "w"), "text"),
    (("layers", 1), Tagged("slow")),
    (("slow",), Tagged({"slow", "cell"})),
    (("cell",), Tagged(None)),
]

BASIC = st.sampled_from(
    [int, float, Tagged, "slow", "cell", ..., None, True, False, filter.PathContains("layers")]
)
FILTERS = st.recursive(
    BASIC,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(lambda parts: filter.Any(*parts)),
        st.lists(inner, max_size=3).map(lambda parts: filter.All(*parts)),
        inner.map(filter.Not),
    ),
    max_leaves=6,
)


def chosen(form):
    predicate = filter.to_predicate(form)
    return [index for index, item in enumerate(ITEMS) if predicate(*item)]


@pytest.mark.parametrize(
    ("form", "indices"),
    [
        (int, [0]),
        (object, [0, 1, 2, 3, 4, 5]),
        ("slow", [3, 4]),
        ("slo", []),
        ("", []),
        (..., [0, 1, 2, 3, 4, 5]),
        (True, [0, 1, 2, 3, 4, 5]),
        (None, []),
        (False, []),
        ([int, "cell"], [0, 4]),
        ((), []),
        (filter.PathContains("cell"), [1, 5]),
        (filter.PathContains(0), [2]),
        (lambda path, value: len(path) == 2, [1, 3]),
        (filter.All(Tagged, filter.Not("slow")), [5]),
        (filter.All(), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_each_form_chooses_what_it_says(form, indices):
    assert chosen(form) == indices


@given(FILTERS, FILTERS)
def test_combinations_obey_set_algebra(a, b):
    everything = set(range(len(ITEMS)))
    assert set(chosen(filter.Any(a, b))) == set(chosen(a)) | set(chosen(b))
    assert set(chosen(filter.All(a, b))) == set(chosen(a)) & set(chosen(b))
    assert set(chosen(filter.Not(a))) == everything - set(chosen(a))


@given(FILTERS)
def test_equal_forms_give_equal_predicates(form):
    first, second = filter.to_predicate(form), filter.to_predicate(form)
    assert first == second
    assert hash(first) == hash(second)


def test_different_predicates_differ():
    predicates = [
        filter.WithTag("a"),
        filter.WithTag("b"),
        filter.PathContains("a"),
        filter.OfType(int),
        filter.Any(int, "a"),
        filter.All(int, "a"),
        filter.Not(int),
        filter.Everything(),
        filter.Nothing(),
    ]
    assert all(a != b for a, b in itertools.combinations(predicates, 2))
    assert len(set(predicates)) == len(predicates)


@pytest.mark.parametrize("form", [3, 1.5, {"a": 1}, b"tag"])
def test_what_is_no_filter_is_refused(form):
    with pytest.raises(TypeError, match="is not a filter"):
        filter.to_predicate(form)


def test_predicates_show_how_they_were_made():
    text = repr(filter.Any(int, filter.All("a", filter.Not(filter.PathContains("b")))))
    assert text == "Any(OfType(int), All(WithTag('a'), Not(PathContains('b'))))"
