"""What can be asked of the compiler: which passes run, with which options, for which backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ir import Graph
from .manager import Pass
from .pipelines import PASSES, PIPELINE

DEFAULT_BACKEND = "xla"
"""What runs graphs if nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """A pass of somebody's own, and the name of the pass after which it runs.

    Examples
    --------
    >>> from brainir.passes import insert
    >>> def look(graph):
    ...     print(len(graph.nodes), "nodes")
    ...     return graph
    >>> insertion = insert(look, after="dead-code")
    >>> insertion.step.name, insertion.after, insertion.step.form
    ('look', 'dead-code', 'expanded')
    """

    step: Pass
    after: str


def insert(step: Pass | Callable[[Graph], Graph], *, after: str) -> Insertion:
    """Return what makes a pass of your own run, for ``Options(insert=...)``.

    Parameters
    ----------
    step : Pass or callable
        A function is called as its name says, and promises the form that the pass before it has.
    after : str
        The name of the pass after which it runs; ``"capture"`` for the start.

    Raises
    ------
    ValueError
        If no pass is called so.

    Examples
    --------
    >>> from brainir.passes import Options, insert, simplify
    >>> def simplify_again(graph):
    ...     return simplify(graph)
    >>> options = Options(insert=(insert(simplify_again, after="dead-code"),))
    >>> [step.name for step in options.pipeline()][-3:]
    ['outline-kernels', 'sort-out-zeros', 'purify']
    """
    forms = {"capture": "any", **{name: known.form for name, known in PASSES.items()}}
    _check_names([after], forms)
    if not isinstance(step, Pass):
        step = Pass(step.__name__.replace("_", "-"), step, forms[after])
    return Insertion(step, after)


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of the compiler; two that are equal share what was compiled.

    They are in force in a context, ``brainir.options(...)``, or for one function,
    ``brainir.transform.jit(..., options=...)``.

    Parameters
    ----------
    backend : str
        What runs the last graph: ``"xla"``, or ``"reference"`` for numpy, node by node. By default
        that of the options around these (see `merged`), and XLA if there are none.
    passes : mapping of str to mapping
        Options of passes by their names, as ``{"distribute-loops": {"memory": 0}}``.
        ``brainir passes`` lists them.
    leave_out : sequence of str
        Names of passes that do not run, also not again. Those that others build on cannot be left
        out.
    insert : sequence of Insertion
        Passes of your own, see `insert`.

    Raises
    ------
    ValueError
        If there is no such pass or option, or a pass that is needed is left out.
    TypeError
        If what is to be inserted does not come from `insert`.

    Examples
    --------
    >>> from brainir.passes import Options
    >>> options = Options(leave_out=["distribute-loops"], passes={"simplify": {}})
    >>> "distribute-loops" in [step.name for step in options.pipeline()]
    False
    """

    backend: str = ""
    passes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    leave_out: Sequence[str] = ()
    insert: Sequence[Insertion] = ()
    chosen: bool = field(init=False, compare=False, repr=False, default=False)
    """Whether they name a backend themselves."""

    def __post_init__(self) -> None:
        _check_names((*self.passes, *self.leave_out), PASSES)
        for name, options in self.passes.items():
            PASSES[name].with_options(**options)
        for item in self.insert:
            if not isinstance(item, Insertion):
                raise TypeError(
                    f"a pass of your own says where it runs, and {item!r} does not: use "
                    "brainir.passes.insert(step, after=...)"
                )
        needed = [name for name in self.leave_out if not PASSES[name].optional]
        if needed:
            raise ValueError(
                f"the pass {needed[0]} cannot be left out, since others build on it; those that "
                f"can are {', '.join(name for name, step in PASSES.items() if step.optional)}"
            )
        passes = {name: dict(options) for name, options in self.passes.items() if options}
        object.__setattr__(self, "chosen", bool(self.backend))
        object.__setattr__(self, "backend", self.backend or DEFAULT_BACKEND)
        object.__setattr__(self, "passes", passes)
        object.__setattr__(self, "leave_out", tuple(dict.fromkeys(self.leave_out)))
        object.__setattr__(self, "insert", tuple(self.insert))

    def __hash__(self) -> int:
        return hash((self.backend, tuple(sorted(self.passes)), self.leave_out, self.insert))

    def merged(self, other: Options) -> Options:
        """Return these options with what others ask for beside or instead of it.

        Passes that are left out stay so, and those of one's own are all inserted.

        Examples
        --------
        >>> from brainir.passes import Options
        >>> outer = Options("reference", {"distribute-loops": {"memory": 3, "cache": 0}})
        >>> print(outer.merged(Options(passes={"distribute-loops": {"memory": 9}})))
        backend=reference, distribute-loops{memory=9, cache=0}
        >>> print(outer.merged(Options("xla", leave_out=["simplify"])))
        distribute-loops{memory=3, cache=0}, without simplify
        """
        passes = {name: {**options} for name, options in self.passes.items()}
        for name, options in other.passes.items():
            passes[name] = {**passes.get(name, {}), **options}
        return Options(
            other.backend if other.chosen else self.backend if self.chosen else "",
            passes,
            (*self.leave_out, *other.leave_out),
            (*self.insert, *(i for i in other.insert if i not in self.insert)),
        )

    def pipeline(self, base: Sequence[Pass] = PIPELINE) -> tuple[Pass, ...]:
        """Return the passes that these options ask for, of a pipeline."""
        steps: list[Pass] = [i.step for i in self.insert if i.after == "capture"]
        for step in base:
            if not {step.name, step.family} & {*self.leave_out}:
                asked = {**self.passes.get(step.family, {}), **self.passes.get(step.name, {})}
                steps.append(step.with_options(**asked))
            steps += [i.step for i in self.insert if i.after == step.name]
        return tuple(steps)

    def __str__(self) -> str:
        """Spell what is asked for beyond the defaults."""
        parts = [] if self.backend == DEFAULT_BACKEND else [f"backend={self.backend}"]
        for name, options in self.passes.items():
            pairs = ", ".join(f"{key}={value!r}" for key, value in options.items())
            parts.append(f"{name}{{{pairs}}}")
        parts += [f"without {name}" for name in self.leave_out]
        parts += [f"{i.step.name} after {i.after}" for i in self.insert]
        return ", ".join(parts) or "default options"


def _check_names(names: Iterable[str], known: Iterable[str]) -> None:
    known = tuple(known)
    for name in names:
        if name not in known:
            raise ValueError(f"no pass is called {name!r}; there are {', '.join(known)}")


DEFAULTS = Options()
"""What is asked for if nobody asks for anything."""
