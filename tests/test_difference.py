"""How two graphs differ: by what their lines mean, not by what values are called."""

import re
import sys

import pytest
from command_samples import GRAPH
from hypothesis import given

import brainir
from brainir import ir
from brainir.frontend.tools.difference import difference
from brainir.testing import ALL, graphs


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


# --- the command ----------------------------------------------------------------------------------


def test_diff_of_equal_graphs_is_empty_whatever_values_are_called(leak, brainir_command):
    other = GRAPH.replace("%0", "%decayed").replace("%1", "%next").replace("@leak", "@other")
    assert brainir_command("diff", leak, "-", stdin=other) == (0, "", "")


def test_diff_shows_only_what_differs(leak, brainir_command):
    other = GRAPH.replace("0.5:f32", "0.9:f32").replace("%0", "%decayed")
    code, out, _ = brainir_command("diff", leak, "-", stdin=other)
    assert code == 1
    assert [line for line in out.splitlines() if line[0] in "+-"] == [
        f"--- {leak} @leak",
        "+++ - @leak",
        "-  %0 = mul %V, 0.5:f32 : f32[3]",
        "+  %0 = mul %V, 0.9:f32 : f32[3]",
    ]


def test_diff_is_coloured_if_asked_to(leak, brainir_command):
    other = GRAPH.replace("0.5", "0.9")
    plain = brainir_command("diff", leak, "-", stdin=other)[1]
    coloured = brainir_command("diff", leak, "-", "--color", "always", stdin=other)[1]
    assert "\033[31m-  %0 = mul %V, 0.5:f32 : f32[3]\033[0m" in coloured
    assert "\033" not in plain


def test_diff_of_units_and_of_different_numbers_of_graphs(leak, brainir_command):
    assert brainir_command("diff", leak, "-", stdin=GRAPH.replace('"mA"', '"nA"'))[0] == 1
    code, _, err = brainir_command("diff", leak, "-", stdin=GRAPH + GRAPH)
    assert code == 1
    assert "has 1 graphs" in err


def test_diff_of_the_standard_input_with_itself_is_refused(brainir_command):
    code, _, err = brainir_command("diff", "-", "-", stdin=GRAPH)
    assert code == 2
    assert "only one" in err


@pytest.mark.parametrize(("value", "coloured"), [("", True), ("1", False)])
def test_diff_on_a_terminal_minds_no_color(leak, brainir_command, monkeypatch, value, coloured):
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    out = brainir_command("diff", leak, "-", stdin=GRAPH.replace("0.5", "0.9"))[1]
    assert ("\033" in out) == coloured
