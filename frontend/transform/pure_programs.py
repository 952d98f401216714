"""Captured programs as pure functions of arguments and States: jaxprs and shapes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex

from ...passes import PIPELINE, Options
from ..capture import Handle, View
from ..export import OPTIMIZATIONS, optimizations_of
from ..program import Compiled, Program, compile_program, run_graph
from ..state import State
from .entries import Captured
from .watch import Watch


def leaving_out(optimizations: str | Sequence[str] | None) -> Options:
    """Return options that leave out all optional passes but those that are asked for.

    Raises
    ------
    ValueError
        If there is no such optimization.
    """
    if optimizations == "all":
        return Options()
    names = () if optimizations is None else optimizations_of(optimizations)
    wanted = {OPTIMIZATIONS[name] for name in names}
    return Options(leave_out=[p.name for p in PIPELINE if p.optional and p.family not in wanted])


@dataclass(frozen=True, slots=True, eq=False)
class StateTrace:
    """What a function does to States.

    Attributes
    ----------
    states : tuple of State
        All that it touches, in the order of the first touch.
    been_writen : tuple of bool
        Which of them it writes.
    """

    states: tuple[State[Any], ...]
    been_writen: tuple[bool, ...]

    def get_read_states(self) -> tuple[State[Any], ...]:
        """Return the States that are read and not written."""
        return self._those(False)

    def get_write_states(self) -> tuple[State[Any], ...]:
        """Return the States that are written."""
        return self._those(True)

    def get_state_values(self) -> tuple[Any, ...]:
        """Return the present values of all of them."""
        return tuple(state.value for state in self.states)

    def _those(self, wanted: bool) -> tuple[State[Any], ...]:
        pairs = zip(self.states, self.been_writen, strict=True)
        return tuple(state for state, written in pairs if written is wanted)


class PureProgram(Captured):
    """A captured program, kept, as a pure function of arguments and States.

    Attributes
    ----------
    order : dict of Handle to View
        The States in the order of the first touch, and how they are expected.
    after : dict of Handle to View
        How the written ones are left.
    """

    def __init__(self, program: Program, watch: Watch, every: bool) -> None:
        super().__init__(program, watch)
        self._every = every
        self.order = {h: view for h, view in self.views.items() if h.kind != "check"}
        self._compiled: Compiled = compile_program(program)
        slots = [program.slots[i] for i in self._compiled.written]
        left = [slot for slot in slots if slot.final and slot.handle in self.order]
        self.after: dict[Handle, View] = {slot.handle: slot.after for slot in left}

    def usable(self) -> bool:
        """Whether all that was assumed while tracing holds, the types of States, too."""
        return super().usable() and self.fits()

    @property
    def states(self) -> tuple[State[Any], ...]:
        """The States themselves."""
        return tuple(handle.state for handle in self.order)  # pyright: ignore[reportReturnType]

    @property
    def trace(self) -> StateTrace:
        """What it does to States."""
        return StateTrace(self.states, tuple(handle in self.after for handle in self.order))

    def leaves_out(self, handle: Handle) -> bool:
        """Whether a State is among the inputs only."""
        return handle not in self.after and not self._every

    @functools.cached_property
    def jaxpr(self) -> jex.ClosedJaxpr:
        """From leaves of arguments and States to leaves of results and States."""
        with jax.disable_jit(False):
            avals = [a for view in self.order.values() for a in view.avals]
            return jax.make_jaxpr(self._flat)(*self.program.in_avals, *avals)

    def _flat(self, *leaves: Any) -> list[Any]:
        program, compiled = self.program, self._compiled
        given, rest = leaves[: len(program.in_avals)], iter(leaves[len(program.in_avals) :])
        before = {handle: [next(rest) for _ in view.avals] for handle, view in self.order.items()}
        checks = {h: h.state.peek() for h in self.views if h not in self.order}
        entering = {**before, **checks}
        held = [x for slot in program.slots for x in slot.entry_leaves(entering[slot.handle])]
        outs = run_graph(compiled.graph, *given, *held, *program.consts(compiled.consts))
        count = len(program.out_avals)
        final = dict(program.checked(program.written_values(compiled.written, outs[count:])))
        kept = [handle for handle in self.order if not self.leaves_out(handle)]
        values = [jax.tree.leaves(final[h]) if h in final else before[h] for h in kept]
        return [*outs[:count], *(leaf for value in values for leaf in value)]

    def shapes(self) -> tuple[Any, tuple[Any, ...]]:
        """Return the result and the new value of each State as shapes and dtypes.

        There is None for a State that is left out.
        """
        result = jax.tree.unflatten(self.program.out_tree, self.program.out_avals)
        states = (
            None if self.leaves_out(handle) else _value_like(self.after.get(handle, before))
            for handle, before in self.order.items()
        )
        return result, tuple(states)

    def run(self, held: Sequence[Any], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        """Compute the new values of the States, and the result."""
        outs = iter(jex.jaxpr_as_fun(self.jaxpr)(*leaves, *held))
        result, states = self.shapes()
        filled = jax.tree.map(lambda _: next(outs), (result, states))
        return filled[1], filled[0]


def _value_like(view: View) -> Any:
    return jax.tree.unflatten(view.tree, view.avals)
