"""`validate`: does the compiler keep what a function means?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...backends import describe, to_numpy
from ...ir import Const, Graph, NotDifferentiable, Type, equal, numpy_dtype, type_of_array
from ...passes import (
    DEFAULT_BACKEND,
    PIPELINE,
    LaneDependentResult,
    LaneDependentWrite,
    Options,
    Pass,
)
from ..options import pipeline_for
from ..program import Program, optimise
from ..transform import grad
from ..transform.jit import Jitted, jit
from .checking import (
    FAULTS,
    Check,
    as_before,
    can_be_run,
    check_backend,
    check_pass,
    failed,
    is_sensitive,
    outcome_of,
)
from .comparison import Comparison, Difference, tolerances_of
from .edges import Edge, find_edges
from .reduction import first_node, reduce
from .running import Array, Inputs, Outcome
from .trials import Trials
from .writing import file_name, write_inputs

REFUSALS = (LaneDependentWrite, LaneDependentResult, NotDifferentiable)
"""What a pass says about the user's program, not about itself."""


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What `validate` found.

    Attributes
    ----------
    name : str
        Of the function.
    stages : mapping of str to float or None
        How far off the results are after each pass and on the backend, in units of the
        tolerance: 1 is as much as is allowed, and a pass that changes nothing has 0. None where
        nothing could be compared. What comes after the first that is wrong is left out. Those of
        the gradients begin with ``"gradients: "``.
    first_pass : str or None
        The first pass after which something is different, or the backend: ``"xla"``.
    difference : Difference or None
        What is different after it.
    node : str or None
        The first node of the graph before that pass whose value is different after it, and its
        place in the user's source.
    graph : Graph or None
        The smallest graph found on which the pass is wrong.
    path : str or None
        The file that graph is in, as text. If it needs inputs of its own to fail, they are in
        an ``.npz`` file of the same name: ``brainir run FILE.bir --inputs FILE.npz``.
    sensitive : bool
        Whether the results change as much when the inputs change by one rounding. Then rounding
        explains the difference, nothing was looked for, and less of the function (fewer steps) may
        tell more.
    edges : int
        On how many other inputs, at which comparisons are decided otherwise, all was well.
    edge : str or None
        What is special about the inputs on which it is not.
    notes : tuple of str
        What was not checked, and why.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> report = brainir.validate(lambda x: jnp.sin(x) * x, jnp.ones(3))
    >>> report.ok, report.first_pass, report.stages["dead-code"]
    (True, None, 0.0)
    """

    name: str
    stages: Mapping[str, float | None]
    first_pass: str | None = None
    difference: Difference | None = None
    node: str | None = None
    graph: Graph | None = None
    path: str | None = None
    sensitive: bool = False
    edges: int = 0
    edge: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no difference was found."""
        return self.first_pass is None

    def __repr__(self) -> str:
        if self.ok:
            worst = max((error for error in self.stages.values() if error is not None), default=0.0)
            compared = sum(error is not None for error in self.stages.values())
            more = f", and so they do at {self.edges} edges of comparisons" if self.edges else ""
            line = f"<{self.name}: {compared} stages agree, to {worst:.2g} of the tolerance{more}"
            return "\n  ".join([line, *self.notes]) + ">"
        verdict = "cannot tell rounding from faults" if self.sensitive else "wrong"
        lines = [f"<{self.name}: {verdict} after {self.first_pass}", f"  {self.difference}"]
        if self.edge is not None:
            lines.append(f"  on {self.edge}")
        if self.sensitive:
            lines.append("  inputs changed by one rounding do as much: validate fewer steps")
        if self.node is not None:
            lines.append(f"  at {self.node}")
        if self.graph is not None:
            where = "" if self.path is None else f" (in {self.path})"
            lines.append(f"  the smallest graph that shows it{where}:")
            text = str(self.graph).split("\n")
            lines += [f"    {line}" for line in (text if len(text) < 40 else [*text[:40], "..."])]
        return "\n".join(lines) + ">"


def validate(
    f: Callable[..., Any],
    *args: Any,
    gradients: bool | None = None,
    edges: bool = True,
    tolerances: Mapping[str, float] | None = None,
    folder: str | os.PathLike[str] = ".",
    **kwargs: Any,
) -> ValidationReport:
    """Check that every pass keeps what a function means, on arguments of one's own.

    The graph of the function runs on the reference backend (numpy, node by node) as it was
    captured, after every pass, and on XLA; results and final states must agree. (Passes and backend
    are those that the options in force ask for, see `brainir.options`.) If they do not, the
    report names the first pass and node that differ, and a file with the smallest graph on which
    that pass is wrong.

    Integers, booleans and random keys are compared exactly, floating-point numbers relative to the
    largest element of their array. A function that is so sensitive that rounding changes its
    results, such as a long run of a large spiking network, is reported as just that.

    Parameters
    ----------
    f : callable
        A function that may use States and `brainir.transform`, or one made by `transform.jit`. It
        is traced, and no State changes; but what it prints, or does by callbacks, it does at every
        stage.
    *args, **kwargs
        What to call it with.
    gradients : bool, optional
        Whether also to check the gradients of its results by all floating-point arguments and all
        ParamStates that it uses. By default that is done where there are any; where not, or where
        something has no derivative, the report's ``notes`` say so. (Gradients that ``f`` itself
        asks for are always checked, against those of JAX.)
    edges : bool
        Whether also to check it on floating-point arguments and States that are moved to where the
        comparisons in it (``x > 0``) are decided otherwise, and to where both sides are equal, as
        far as a few tries find them. Points where rounding may decide are left out, and so are
        functions that call back into Python, and those with a while, which might not end there.
    tolerances : mapping of str to float, optional
        By dtype, in place of 1e-4 for ``"float32"``, 1e-9 for ``"float64"`` and so on. All have the
        one of the narrowest numbers in the graph by default.
    folder : path-like
        Where to write a file if something fails: the current folder by default.

    Returns
    -------
    ValidationReport
        Its ``ok`` says whether all is well, and its text what is not.

    Raises
    ------
    ValueError
        If ``gradients`` is True and there are no floating-point results or inputs.
    BatchAxisError, NotImplementedError, ...
        What calling the function raises.

    Notes
    -----
    A graph with lanes that change States means something to the reference only after the pass
    ``hoist-state``, so comparing begins there. The reference takes its time: some microseconds for
    every node that runs, and that at every stage; try few steps of a long loop.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> w = brainir.ParamState(jnp.ones(2))
    >>> report = brainir.validate(lambda x: jnp.sum(jnp.where(x > 1, w.value, x)), jnp.ones(2))
    >>> report.ok, report.edges > 0
    (True, True)
    """
    jitted = f if isinstance(f, Jitted) else jit(f)
    program = jitted.trace(*args, **kwargs).program
    comparison = Comparison({**tolerances_of(program.graph), **(tolerances or {})})
    given, named = jitted.arguments.dynamic(args, kwargs)
    leaves = jax.tree.leaves((*given, *(named[key] for key in sorted(named))))
    place = Path(folder)
    values = _Validation(program, leaves, comparison, place)
    report = values.report
    if not report.ok:
        return report
    slopes = None
    if gradients is not False:
        closed = jitted.arguments.closed(args, kwargs)
        try:
            loss = _Loss(lambda dynamic: closed(*dynamic[0], **dynamic[1]), (given, named), program)
            slopes = _Gradients(loss, report.name, comparison, place, program.options)
        except (NotImplementedError, TypeError, ValueError) as error:
            if gradients:
                raise
            report = _noted(report, f"gradients were not checked: {error}")
    if slopes is not None:
        if slopes.report.sensitive and not gradients:
            report = _noted(report, f"gradients are left to rounding: {slopes.report.difference}")
            slopes = None
        else:
            report = _joined(report, slopes.report)
    return _at_edges(report, values, slopes) if edges and report.ok else report


def _noted(report: ValidationReport, note: str) -> ValidationReport:
    return replace(report, notes=(*report.notes, note.partition("\n")[0]))


def _joined(report: ValidationReport, slopes: ValidationReport) -> ValidationReport:
    name = report.name if slopes.ok else slopes.name
    stages = {**report.stages, **_of_gradients(slopes)}
    return replace(slopes, name=name, stages=stages, notes=report.notes)


def _of_gradients(slopes: ValidationReport) -> dict[str, float | None]:
    return {f"gradients: {stage}": error for stage, error in slopes.stages.items()}


def _at_edges(
    report: ValidationReport, values: _Validation, slopes: _Gradients | None
) -> ValidationReport:
    """Return what is wrong where comparisons are decided otherwise, if anything is."""
    found = values.edges()
    for edge in found:
        wrong = values.report_at(edge.inputs, edge.ties)
        if wrong is None and slopes is not None:
            wrong = slopes.report_at(slopes.like(edge.inputs, values.program), edge.ties)
            wrong = wrong and replace(wrong, stages={**report.stages, **_of_gradients(wrong)})
        if wrong is not None:
            return replace(wrong, notes=report.notes, edge=edge.text)
    return replace(report, edges=len(found))


class _Loss:
    """One number that depends on everything that a function of floating-point numbers returns."""

    def __init__(self, function: Callable[[Any], Any], arguments: Any, program: Program) -> None:
        self._function = function
        self._leaves, self._tree = jax.tree.flatten(arguments)
        self.places = [i for i, x in enumerate(self._leaves) if _is_float(x)]
        self.floats = [self._leaves[i] for i in self.places]
        slots = (s for s in program.slots if s.var.kind == "param")
        self._params = [s.handle.state for s in slots if all(map(_is_float, s.before.avals))]
        if not self.floats and not self._params:
            raise ValueError(
                f"{program.graph.name} has no floating-point arguments and uses no ParamStates, so "
                "there are no gradients to validate"
            )
        if not any(map(_is_float, program.out_avals)):
            raise ValueError(
                f"{program.graph.name} returns no floating-point numbers, so there are no "
                "gradients to validate"
            )

    def gradients(self, floats: Sequence[Any]) -> Any:
        """Return the gradients by States and arguments."""
        numbers = 0 if self.floats else None
        return grad(self._loss, grad_states=self._params or None, argnums=numbers)(floats)

    def _loss(self, floats: Sequence[Any]) -> Any:
        leaves = list(self._leaves)
        for i, x in zip(self.places, floats, strict=True):
            leaves[i] = x
        results = jax.tree.leaves(self._function(jax.tree.unflatten(self._tree, leaves)))
        arrays = [jnp.asarray(x) for x in results if _is_float(x)]
        # Weights that differ, since a plain sum may be the same whatever the function does.
        parts = [
            jnp.sum(x * jnp.asarray(np.cos(np.arange(x.size)).reshape(x.shape), x.dtype))
            for x in arrays
        ]
        widest = max((x.dtype for x in arrays), key=lambda dtype: dtype.itemsize)
        return sum((part.astype(widest) for part in parts), start=jnp.zeros((), widest))


def _is_float(x: Any) -> bool:
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    return bool(jnp.issubdtype(dtype, jnp.floating))


# --- the stages -----------------------------------------------------------------------------------


class _Validation:
    """A program at all stages, on the arguments that were given and on others."""

    def __init__(
        self, program: Program, leaves: Sequence[Any], comparison: Comparison, folder: Path
    ) -> None:
        self.program = program
        self._comparison, self._folder = comparison, folder
        graph = program.graph
        pairs = zip(leaves, graph.params, strict=True)
        arguments = tuple(_as_type(leaf, param.type) for leaf, param in pairs)
        held, states = iter(program.state_leaves()), {}
        for state in graph.states:
            states[state] = tuple(_as_type(next(held), type) for type in state.types)
        consts = tuple(Const(c.value, _as_type(c.data, c.value.type)) for c in graph.consts)
        self.inputs = Inputs(graph.with_(consts=consts), arguments, states)
        backend = program.options.backend
        self._run = _Run(self.inputs, comparison, folder, backend=backend)
        try:
            self._run.through(pipeline_for(program.options, PIPELINE))
        except REFUSALS:
            optimise(program)  # says the same in the words that users know
            raise
        self.report = self._run.report(smallest=True)
        self._trials: Trials | None = None

    def edges(self) -> list[Edge]:
        """Return inputs at which comparisons are decided otherwise; none if none can be had."""
        first = self._run.first
        if first is None or len(first.arguments) != len(self.inputs.arguments):
            return []
        return find_edges(first)

    def report_at(self, inputs: Inputs, ties: frozenset[float]) -> ValidationReport | None:
        """Return a report if something is wrong on other inputs, for sure."""
        self._trials = self._trials or self._run.trials()
        if self._trials is None or self._trials.difference(inputs) is None:
            return None
        inputs = replace(inputs, graph=self.inputs.graph)
        options = self.program.options
        run = _Run(inputs, self._comparison, self._folder, ties, options.backend)
        run.through(pipeline_for(options, PIPELINE))
        report = run.report(smallest=True)
        return None if report.ok or report.sensitive else report


class _Gradients(_Validation):
    """The gradients of a program."""

    def __init__(
        self, loss: _Loss, name: str, comparison: Comparison, folder: Path, options: Options
    ) -> None:
        self._places = loss.places
        gradients = jit(loss.gradients, name=f"gradients_of_{name}", options=options)
        slopes = gradients.trace(loss.floats).program
        super().__init__(slopes, jax.tree.leaves(loss.floats), comparison, folder)

    def like(self, inputs: Inputs, program: Program) -> Inputs:
        """Return inputs for the gradients that are like inputs of the function."""
        given = {slot.handle: inputs.states[slot.var] for slot in program.slots}
        states = dict(self.inputs.states)
        for slot in self.program.slots:
            leaves = given.get(slot.handle, ())
            if tuple(map(type_of_array, leaves)) == slot.var.types:
                states[slot.var] = leaves
        arguments = tuple(inputs.arguments[i] for i in self._places)
        return Inputs(self.inputs.graph, arguments, states)


def _as_type(leaf: Any, type: Type) -> Array:
    """Return an array as JAX would hold it, numbers of 64 bits among them."""
    return to_numpy(leaf) if type.is_key else np.asarray(leaf, numpy_dtype(type.dtype))


def validate_graph(
    inputs: Inputs,
    comparison: Comparison | None = None,
    folder: Path | None = None,
    passes: Sequence[Pass] = PIPELINE,
    smallest: bool = True,
    backend: str = DEFAULT_BACKEND,
) -> ValidationReport:
    """Check what passes make of a graph, step by step, and then a backend; see `validate`.

    Nothing is written without a folder, and the smallest graph that fails is only looked for if it
    is asked for.
    """
    comparison = comparison or Comparison()
    run = _Run(inputs, comparison, folder, backend=backend)
    run.through(passes)
    return run.report(smallest)


class _Run:
    """Goes from stage to stage as long as nothing is different from the first of them."""

    def __init__(
        self,
        inputs: Inputs,
        comparison: Comparison,
        folder: Path | None,
        ties: frozenset[float] = frozenset(),
        backend: str = DEFAULT_BACKEND,
    ) -> None:
        self._inputs, self._comparison, self._folder = inputs, comparison, folder
        self._ties, self._backend = ties, backend
        self.first: Inputs | None = None
        self._pure = inputs
        self._check: Check | None = None
        self._name = inputs.graph.name or "graph"
        self._stages: dict[str, float | None] = {}
        self._expected: Outcome | None = None
        self._failure: tuple[Check, Difference] | None = None

    def through(self, passes: Sequence[Pass]) -> None:
        """Take all steps until one fails, the backend the last if the passes get there."""
        well = all(self.step(check_pass(step, self._comparison)) for step in passes)
        if well and passes and passes[-1].form == "pure":
            self._check = check_backend(self._backend, self._comparison)
            self.step(self._check)

    def trials(self) -> Trials | None:
        """Return a way to run first and last stage on other inputs, if both could be run."""
        if self.first is None or self._check is None:
            return None
        return Trials(self.first, self._pure, self._inputs, self._check, self._comparison)

    def step(self, check: Check) -> bool:
        """Take a step, and return whether all is well after it."""
        before = self._inputs
        if self._expected is None and can_be_run(before.graph):
            self._expected, self.first = outcome_of(before), before
        try:
            after = check.after(before)
            if after is not before and equal(after.graph, before.graph):
                self._stages[check.name] = None if self._expected is None else 0.0
                return True
            found = None if self._expected is None else check.run(after)
        except REFUSALS:
            raise
        except FAULTS as error:
            self._failure = check, failed(error)
            return False
        self._inputs = after
        if len(after.arguments) != len(before.arguments):
            self._pure = before
        return self._agrees(check, before, found)

    def _agrees(self, check: Check, before: Inputs, found: Outcome | None) -> bool:
        self._stages[check.name] = None
        if found is None or self._expected is None:
            return True
        same = as_before(before, self._inputs.graph, found)
        difference = self._comparison.difference(same, self._expected)
        if difference is not None:
            self._inputs, self._failure = before, (check, difference)
            return False
        self._stages[check.name] = self._comparison.error(same, self._expected)
        self._expected = self._expected if same is found else found
        return True

    def report(self, smallest: bool) -> ValidationReport:
        """Return what was found; look for the smallest graph that shows it if that is asked for."""
        if self._failure is None:
            return ValidationReport(self._name, self._stages)
        check, difference = self._failure
        report = ValidationReport(self._name, self._stages, check.name, difference)
        if is_sensitive(self._inputs, difference, self._comparison, self._ties):
            return replace(report, sensitive=True)
        if not smallest or check.difference(self._inputs) is None:
            return report  # it has come together in several stages, or the graph cannot be run
        reduced = reduce(check, self._inputs, difference)
        node, path = first_node(check, reduced), None
        if self._folder is not None:
            path = self._folder / f"failing-{file_name(self._name)}-{check.name}.bir"
            write_inputs(path, reduced, f"{difference} (after {check.name})")
        return replace(
            report,
            node=None if node is None else describe(node),
            graph=reduced.graph,
            path=None if path is None else str(path),
        )
