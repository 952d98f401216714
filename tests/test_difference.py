"""How two graphs differ: by what their lines mean, not by what values are called."""

import re

from hypothesis import given
from random_graphs import ALL, graphs

import brainir
from brainir import ir
from brainir.frontend.tools.difference import difference


def body(*lines):
    return ir.parse(
        "graph (%x: f32[3]) -> (f32[3]) {\n" + "\n".join(lines[:-1]) + f"\nreturn {lines[-1]}\n}}"
    )


def marked(a, b):
    return [f"{line.mark}{line.text.strip()}" for line in difference(a, b) if line.mark != " "]


def test_a_new_node_is_one_line_of_difference_though_all_numbers_shift():
    old = body("%0 = sin %x", "%1 = cos %0", "%2 = exp %1", "%2")
    new = body("%0 = sin %x", "%1 = neg %0", "%2 = cos %0", "%3 = exp %2", "%3")
    assert marked(old, new) == ["+%1' = neg %0 : f32[3]"]


def test_the_same_line_about_another_value_is_a_difference():
    old = body("%0 = sin %x", "%1 = sin %x", "%2 = exp %0", "%2")
    new = body("%0 = sin %x", "%1 = sin %x", "%2 = exp %1", "%2")
    assert marked(old, new) == ["-%2 = exp %0 : f32[3]", "+%2 = exp %1 : f32[3]"]


@given(graph=graphs(dtypes=ALL, transformations=True))
def test_graphs_that_differ_in_names_only_have_no_line_of_difference(graph):
    other = ir.parse(re.sub(r"%(\w+)", r"%other_\1", str(graph)))
    assert marked(graph, other) == []


@given(graph=graphs())
def test_a_difference_holds_the_first_graph_and_is_there_if_the_graphs_are_not_equal(graph):
    other = brainir.passes.simplify(graph)
    lines = difference(graph, other)
    first = [word for line in lines if line.mark in " -" for word in line.text.split()]
    assert "".join(first) == "".join(ir.print_graph(graph, locations=False).split())
    assert (marked(graph, other) == []) == ir.equal(graph, other)
