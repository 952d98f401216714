"""Running what became of a graph on other inputs, without going through the passes again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...backends import reference
from .checking import FAULTS, Check, as_before, failed, outcome_of
from .comparison import Comparison, Difference
from .jax_derivatives import with_jax_derivatives
from .running import Array, Inputs, Outcome


class Trials:
    """Compares the first stage of a graph that can be run with the last, on given inputs.

    Parameters
    ----------
    first : Inputs
        The first stage that the reference backend can run.
    pure : Inputs
        The last stage that has states.
    last : Inputs
        The last stage.
    backend : Check
        Runs the last stage.
    """

    def __init__(
        self, first: Inputs, pure: Inputs, last: Inputs, backend: Check, comparison: Comparison
    ) -> None:
        self.first = first
        self._pure, self._last, self._backend, self._comparison = pure, last, backend, comparison
        self._reference = with_jax_derivatives(first.graph)
        self._finite = _finite(self._expected(first))

    def _expected(self, inputs: Inputs) -> Outcome:
        return Outcome(*reference.evaluate(self._reference, inputs.arguments, inputs.states))

    def difference(self, inputs: Inputs) -> Difference | None:
        """Return what is wrong on inputs that are like those of the first stage.

        None, too, where the function itself has no finite value, or none that can be had.
        """
        try:
            expected = self._expected(inputs)
        except FAULTS:
            return None
        if any(
            (was & ~now).any() for was, now in zip(self._finite, _finite(expected), strict=True)
        ):
            return None
        runs = (outcome_of, self._backend.run)  # its own rewriting may hide what is wrong
        found = (self._difference(run, inputs, expected) for run in runs)
        return next((difference for difference in found if difference is not None), None)

    def _difference(
        self, run: Callable[[Inputs], Outcome], inputs: Inputs, expected: Outcome
    ) -> Difference | None:
        try:
            found = run(_with_arrays(self._last, inputs))
            if self.first.states:
                found = as_before(_with_arrays(self._pure, inputs), self._last.graph, found)
        except FAULTS as error:
            return failed(error)
        return self._comparison.difference(found, expected)


def _with_arrays(stage: Inputs, inputs: Inputs) -> Inputs:
    """Return a stage on the arrays of another one; a pure one takes states as arguments."""
    if len(stage.arguments) == len(inputs.arguments):
        return replace(stage, arguments=inputs.arguments, states=inputs.states)
    leaves = [leaf for state in inputs.graph.states for leaf in inputs.states[state]]
    return replace(stage, arguments=(*inputs.arguments, *leaves), states={})


def _finite(outcome: Outcome) -> list[Array]:
    every: Sequence[Array] = (
        *outcome.results,
        *(leaf for leaves in outcome.states.values() for leaf in leaves),
    )
    return [_is_finite(array) for array in every]


def _is_finite(array: Array) -> Array:
    if array.dtype.names or array.dtype.kind in "biu":
        return np.ones(array.shape, bool)
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    return np.isfinite(array.astype(wide))
