"""`check_pass`: a pass keeps the meaning of every graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from ...backends import reference
from ...ir import Graph, equal, verify
from ...passes import PIPELINE, Pass, insert, run_pipeline
from .graph_draft import KEY
from .random_graphs import COMMON, Inputs, assert_same_outcome, graphs, inputs_for
from .running import broken, try_all


def check_pass(
    step: Pass | Callable[[Graph], Graph],
    *,
    after: str = "capture",
    form: str | None = None,
    again: bool = False,
    may_be_idle: bool = False,
    examples: int | None = None,
    **drawn: Any,
) -> None:
    """Check that a pass keeps the meaning of random graphs.

    The reference backend gives the same results and final states before and after it, its output
    verifies, and the graph that it was given is as it was.

    Parameters
    ----------
    step : Pass or callable
        ``step(graph)`` returns the new graph, with the same parameters and results.
    after : str
        The pass of the pipeline after which it is to run, as for `brainir.passes.insert`: what it
        is given has been through the pipeline up to there.
    form : str, optional
        What its output satisfies, see `brainir.ir.verify`: that of a `Pass`, or of the pass before.
    again : bool
        Whether to check also that it finds nothing to do a second time.
    may_be_idle : bool
        Whether it is fine if it changes none of the graphs.
    examples : int, optional
        How many graphs to try; as many as the hypothesis profile says by default.
    **drawn
        What may occur in graphs, see `graphs`; everything that can be run by default. Name the
        ``ops`` that the pass looks for, so that they occur often.

    Raises
    ------
    AssertionError
        If something of that does not hold; the message shows the smallest graph, as text. Also if
        the pass changed no graph at all, so that nothing was compared.

    Examples
    --------
    >>> from brainir.passes import simplify
    >>> from brainir.testing import check_pass
    >>> check_pass(simplify, after="expand-vmap", ops=["add", "mul"], examples=10)
    """
    known = insert(step, after=after).step
    if not isinstance(step, Pass) and after == "capture":
        known = Pass(known.name, known.function, "any")
    form = form or known.form
    changed: list[bool] = []
    what = {"transformations": True, "nodes": 12, **drawn}

    def law(data: st.DataObject) -> None:
        dtypes = what.get("dtypes") or data.draw(st.sampled_from([COMMON, (*COMMON, KEY)]))
        graph = data.draw(graphs(**{**what, "dtypes": dtypes}))
        given = run_pipeline(graph, PIPELINE, until=after)
        inputs = data.draw(inputs_for(given))
        if after == PIPELINE[-1].name:  # states are parameters by now
            inputs = Inputs(inputs.arguments, {})
        changed.append(_check(known, given, inputs, form, again))

    try_all(law, examples)
    if not (any(changed) or may_be_idle):
        raise AssertionError(
            f"pass {known.name}: it changed none of {len(changed)} graphs, which tells nothing: "
            'draw what it looks for more often, as by check_pass(..., ops=["add"])'
        )


def _check(step: Pass, graph: Graph, inputs: Inputs, form: str, again: bool) -> bool:
    """Compare a graph with what the pass makes of it; return whether that is another one."""
    shown: dict[str, Any] = {"the graph": graph}
    law, text = "the pass can be run", str(graph)
    try:
        expected = reference.evaluate(graph, inputs.arguments, inputs.states)
        new = shown["after the pass"] = step(graph)
        law = "the graph that it is given stays as it is"
        assert str(graph) == text, "it has been changed in place"
        law = f"its output is well formed ({form})"
        verify(new, form)
        law = "its output means the same"
        shown |= {"the arguments": inputs.arguments, "the states": inputs.states}
        assert_same_outcome(reference.evaluate(new, inputs.arguments, inputs.states), expected)
        if again:
            law = "it finds nothing to do a second time"
            twice = step(new)
            if not equal(twice, new):
                shown["after the pass again"] = twice
                raise AssertionError("it changes its own output")
    except Exception as error:
        raise broken(f"pass {step.name}: {law}", error, **shown) from error
    return not equal(new, graph)
