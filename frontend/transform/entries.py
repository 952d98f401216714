"""What is kept of a compiled function for one way of calling it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

import jax

from ...backends import Flat
from ...passes import Options
from .. import environ
from ..capture import (
    Cell,
    Handle,
    View,
    merge,
)
from ..program import (
    Program,
    Slot,
    compile_program,
    give_back,
    homes_of,
    outermost,
    tell_recorders,
    without_garbage_collection,
)
from ..snapshot import holds_array, is_gone
from ..state import (
    epoch,
    hook_marks,
    in_foreign_trace,
    recording,
    release_all,
)
from . import plain
from .kept_programs import (
    array_type,
    is_one_array,
    looks_like,
    same_avals,
    without_weak_types,
)
from .packing import apart, pack_for
from .watch import Watch


class Mismatch(Exception):
    """Arguments or States do not look as they did when this was compiled."""


class Captured:
    """A captured program that is kept, as `KeptPrograms` says.

    Attributes
    ----------
    program : Program
        What was captured.
    """

    used = 0

    def __init__(self, program: Program, watch: Watch) -> None:
        self.program, self._watch = program, watch
        self._epoch: int | None = None
        self._checks = self._always = tuple(_checks(program, watch))
        self.views = {slot.handle: slot.before for slot in program.slots}
        self.fleeting = any(map(holds_array, program.reads.values()))
        self._states = [h.reference for h in self.views if h.kind != "check"]
        self._hooks = self._hook_marks()

    def usable(self) -> bool:
        """Whether what was assumed while tracing still holds; types apart, which JAX compares."""
        if epoch.count != self._epoch:
            if not self.alive():
                return False
            self._epoch = epoch.count
        for check in self._checks:  # a loop, not all(...): every call asks  # noqa: SIM110
            if not check():
                return False
        return True

    def alive(self) -> bool:
        """Whether every State still exists and has not been replaced by another one."""
        alive = all(handle.alive for handle in self.views) and self._watch.in_place(self.views)
        return alive and self._hook_marks() == self._hooks

    def _hook_marks(self) -> tuple[Any, ...]:
        return hook_marks(state() for state in self._states)

    def hopeless(self) -> bool:
        """Whether something that it depends on is gone for ever."""
        return any(map(is_gone, self.program.reads.values()))

    def fits(self) -> bool:
        """Whether every State looks as it did when this was traced."""
        return all(looks_like(handle.reference, view) for handle, view in self.views.items())

    def guard(self, handles: Iterable[Handle]) -> None:
        """Let `usable` ask, too, whether some States look as they did when this was traced."""
        guarded = [(handle.reference, self.views[handle]) for handle in handles]
        self._checks = self._always
        if guarded:
            self._checks += (lambda: all(looks_like(*pair) for pair in guarded),)


class Entry(Captured):
    """A program of a jitted function, compiled.

    Attributes
    ----------
    context : Options
        Those in force around the last call for which it was looked up: as long as they are the same
        object, it is the one to run.
    """

    def __init__(
        self,
        program: Program,
        names: Sequence[str],
        donate: Sequence[int | str],
        watch: Watch,
        context: Options,
        packed: bool = True,
    ) -> None:
        super().__init__(program, watch)
        self.context = context
        self._given = (program, names, donate, watch, context)
        self._names = sorted(names)
        self._adopted = any(isinstance(slot.handle.state, Cell.adopted) for slot in program.slots)
        self._io, self._custom = program.has_io, program.custom
        self._array = array_type()
        self._compiled = compile_program(program, apart(program) if packed else None)
        self._slots = [program.slots[i] for i in self._compiled.held]
        self._held = [slot.handle.reference for slot in self._slots]
        self._packs = [pack_for(program, inside) for inside, _ in self._compiled.packs]
        pairs = zip(self._packs, self._compiled.packs, strict=True)
        self._packs_left = [pack for pack, slots in pairs if slots.written]
        self._unpacked: Entry | None = None
        inside = (i for slots in self._compiled.packs if slots.written for i in slots.slots)
        self._touched = (*self._compiled.written, *inside)
        self._consts = program.consts(self._compiled.consts)
        slots = [program.slots[i] for i in self._compiled.written]
        left = [slot.handle for slot in slots if slot.final]
        self._left = left if program.checks else None
        self._written = [handle for handle in left if handle.kind != "check"]
        kept = program.changed_in_place()
        self._kept = kept
        self._in_place = [i for i, handle in enumerate(self._written) if handle in kept]
        self._given_back = [handle.reference for handle in self._written]
        self._watched = any(map(any, self._hooks))
        touched = [program.slots[i] for i in self._touched]
        self._homes = [(slot.handle.reference, slot.homes) for slot in touched if slot.final]
        self._several = jax.device_count() > 1
        special = self._packs, self._io, self._adopted, self._watched, self._in_place, self._several
        self._simple = self._left is None and not any(special)
        self._fresh = _numbers_left(self._slots, {slot.handle for slot in slots})
        self._numbers = [(i, view) for i, view in self._fresh if is_one_array(view)]
        # Flat arguments, since every container costs JAX time: States, consts, then the user's own.
        first = len(self._held) + len(self._packs) + len(self._consts)
        donated = tuple(i if isinstance(i, str) else first + i for i in donate)
        executable = self._compiled.executable(donated, self._around)
        self._inner = executable.inside
        self._waits = self._io or executable.long
        self._ready = outermost(executable, self._compiled.backend)
        # What talks to the host runs Python of the user, maybe for long.
        self._outer = self._ready if self._io else self._compiling

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run on the present States, and give them their new values after all has succeeded.

        Most programs have States that stand by themselves, and nothing to do but that. For them
        it is written out, with one check of what comes out, since small models are called often.
        """
        if not self._simple or self._fresh or self._numbers or recording.stack:
            return self._run(args, kwargs)
        if self._custom and self._others_differentiate(args, kwargs):
            raise Mismatch
        held = [state()._value for state in self._held]  # pyright: ignore
        try:
            results = self._outer(*held, *self._consts, *args, **kwargs)
        except (ValueError, TypeError):
            return self._run(args, kwargs)
        if self._waits:
            jax.block_until_ready(results)
        given_back = self._given_back
        if given_back:
            array = self._array
            for value in results[:-1]:
                if type(value) is not array:
                    self._check_writable(results[:-1])
                    break
            for state, value in zip(given_back, results):  # noqa: B905 - the result is the last
                state()._value = value  # pyright: ignore
        return results[-1]

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run, with all that may have to be seen to."""
        if self._several and not self._at_home():
            raise Mismatch
        if self._packs and not self._put_in():
            return self._without_packs().run(args, kwargs)
        if self._custom and self._others_differentiate(args, kwargs):
            raise Mismatch
        if recording.stack:
            tell_recorders(self.program, self._touched)
        held = self._values()
        try:
            *values, result = self._outer(*held, *self._consts, *args, **kwargs)
        except ValueError:
            if not in_foreign_trace():
                raise
            # A backend may need to be told that it runs inside something else.
            *values, result = self._inner(*held, *self._consts, *args, **kwargs)
        except TypeError:
            # JAX does not know what to do with States that stand in packs of other functions.
            if not release_all(held):
                raise
            return self.run(args, kwargs)
        if self._waits:  # here a signal is heard, with all States as they were
            jax.block_until_ready((values, result))
        if self._packs_left:
            count = len(self._packs_left)
            values, arrays = values[:-count], values[-count:]
            self._leave(values)
            for pack, value in zip(self._packs_left, arrays, strict=True):
                pack.take(value)
        else:
            self._leave(values)
        return result

    def fits(self) -> bool:
        return super().fits() and self._at_home()

    def _at_home(self) -> bool:
        """Whether every State is spread over devices as it was when this was compiled."""
        if not self._several:
            return True
        return all(homes_of(state().peek()) == homes for state, homes in self._homes)  # pyright: ignore

    def _values(self) -> list[Any]:
        """Return what the States hold now, and then the packs."""
        if self._adopted:
            held = [state().peek() for state in self._held]  # pyright: ignore
        else:  # of ours it is known where they hold it, and every call asks for it
            held = [state()._value for state in self._held]  # pyright: ignore
        if self._fresh:
            for i, view in self._fresh:
                held[i] = without_weak_types(held[i], view)
            self._fresh = []
        for i, view in self._numbers:  # somebody may have set one again
            if type(held[i]) is not self._array or held[i].weak_type:
                held[i] = without_weak_types(held[i], view)
        if self._packs:
            held += [pack.array for pack in self._packs]
        return held

    def _leave(self, values: list[Any]) -> None:
        """Give States that stand by themselves their new values."""
        if self._left is not None:
            pairs = self.program.checked([*zip(self._left, values, strict=True)])
            values = [value for _, value in pairs]
        array = self._array
        for value in values:
            if type(value) is not array:  # it may hold what must not be kept
                self._check_writable(values)
                break
        if self._watched:
            give_back([*zip(self._written, values, strict=True)], False, self._kept)
            return
        for i in self._in_place:  # whoever holds the container sees what was changed
            values[i] = merge(self._written[i].state.peek(), values[i])
        if self._adopted:
            for state, value in zip(self._given_back, values, strict=True):
                state().accept(value)  # pyright: ignore
            return
        for state, value in zip(self._given_back, values):  # noqa: B905 - strict costs every call
            state()._value = value  # pyright: ignore

    def _put_in(self) -> bool:
        """Whether all States of packs stand in these now, and nobody traces."""
        if in_foreign_trace():
            return False
        for pack in self._packs:  # noqa: SIM110
            if not (pack.whole or pack.fill()):
                return False
        return True

    def _without_packs(self) -> Entry:
        """Return an entry of the same program that takes each State by itself."""
        if self._unpacked is None:
            self._unpacked = Entry(*self._given, packed=False)
        for pack in self._packs:
            pack.release()
        return self._unpacked

    def _compiling(self, *given: Any, **kwargs: Any) -> Any:
        """Run for the first time, which lowers and compiles."""
        with without_garbage_collection():
            results = self._ready(*given, **kwargs)
        self._outer = self._ready
        return results

    def _others_differentiate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether custom derivatives matter otherwise than they did when this was compiled."""
        for arg in (*args, *kwargs.values()):
            if type(arg) is not self._array:
                return in_foreign_trace() != self.program.foreign
        return False

    def _check_writable(self, values: Sequence[Any]) -> None:
        if in_foreign_trace():
            for handle, value in zip(self._written, values, strict=True):
                handle.state.check_writable(value)

    def _around(self, flat: Flat) -> Callable[..., tuple[Any, ...]]:
        """Return the function of containers that a backend makes its executable of."""
        return functools.partial(self._contained, flat)

    def _contained(self, flat: Flat, /, *given: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Check that it is the signature we know, and run the graph: what JAX traces, for XLA."""
        if plain.jit_is_disabled():
            raise Mismatch
        program = self.program
        first = len(self._held)
        middle = first + len(self._packs)
        last = middle + len(self._consts)
        values, packs, consts = given[:first], given[first:middle], given[middle:last]
        args = given[last:]
        names = sorted(kwargs)
        leaves, tree = jax.tree.flatten((*args, *(kwargs[name] for name in names)))
        if names != self._names:
            raise Mismatch
        if tree != program.in_tree or not same_avals(leaves, program.in_avals, weak=True):
            raise Mismatch
        held: list[Any] = []
        for value, slot in zip(values, self._slots, strict=True):
            found, now = jax.tree.flatten(value)
            if now != slot.before.tree or not same_avals(found, slot.before.avals, weak=False):
                raise Mismatch
            held.extend(slot.entry_leaves(found))
        outs = flat(*leaves, *held, *packs, *consts)
        count, left = len(program.out_avals), len(outs) - len(self._packs_left)
        result = jax.tree.unflatten(program.out_tree, outs[:count])
        written = program.written_values(self._compiled.written, outs[count:left])
        return *(value for _, value in written), *outs[left:], result


def _numbers_left(slots: Sequence[Slot], written: Container[Handle]) -> list[tuple[int, View]]:
    """Return slots of States that a program writes and that may hold numbers, or are weak."""
    return [
        (i, slot.before)
        for i, slot in enumerate(slots)
        if slot.handle in written
        and any(aval.shape == () or aval.weak_type for aval in slot.before.avals)
    ]


def _checks(program: Program, watch: Watch) -> Iterator[Callable[[], bool]]:
    """Yield what has to be asked before each call; most functions need little of it."""
    if watch:
        yield watch.unchanged
    if program.reads:
        yield functools.partial(environ.unchanged, program.reads)
