"""`check_backend`: what a backend computes is what graphs mean."""

from __future__ import annotations

from typing import Any

import jax
from hypothesis import strategies as st

from ...backends import BACKENDS, Backend, reference, to_jax, to_numpy
from ...passes import PIPELINE, run_pipeline
from .random_graphs import assert_close, graphs, inputs_for
from .running import broken, try_all


def check_backend(backend: Backend | str, *, examples: int | None = None, **drawn: Any) -> None:
    """Check that a backend gives what the reference gives, on random graphs of arrays.

    Results are JAX arrays, of the types that the graph has, and arguments stay as they were.

    Parameters
    ----------
    backend : Backend or str
        What to check, or the name under which it is registered.
    examples : int, optional
        How many graphs to try; as many as the hypothesis profile says by default.
    **drawn
        What may occur in graphs, see `graphs`.

    Raises
    ------
    AssertionError
        If something of that does not hold; the message shows the smallest graph, as text.

    Examples
    --------
    >>> from brainir.testing import check_backend
    >>> check_backend("xla", examples=3)
    """
    backend = BACKENDS[backend] if isinstance(backend, str) else backend
    what = {"transformations": True, "nodes": 8, **drawn}

    def law(data: st.DataObject) -> None:
        captured = data.draw(graphs(**what))
        hoisted = run_pipeline(captured, PIPELINE[:-1])
        inputs = data.draw(inputs_for(hoisted))
        held = [leaf for state in hoisted.states for leaf in inputs.states[state]]
        given = [*map(to_jax, map(to_numpy, (*inputs.arguments, *held)))]
        graph = PIPELINE[-1](hoisted)
        law, shown = "the graph can be compiled and run", {"the graph": graph, "arguments": given}
        try:
            expected = reference.run(graph, *given)
            before = [to_numpy(array).copy() for array in given]
            found = backend.compile(graph)(*given)
            law = "it gives JAX arrays"
            assert all(isinstance(array, jax.Array) for array in found), [*map(type, found)]
            law = "it gives what the graph means"
            for one, other in zip(map(to_numpy, found), expected, strict=True):
                assert_close(one, other)
            law = "arguments stay as they were"
            for one, other in zip(given, before, strict=True):
                assert to_numpy(one).tobytes() == other.tobytes()
        except Exception as error:
            raise broken(f"backend {backend.name}: {law}", error, **shown) from error

    try_all(law, examples)
