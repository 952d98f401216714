"""The doors to `lanes`: a table of what each of them does with States."""

from __future__ import annotations

import functools
import operator
import warnings
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, cast

import jax

from ..capture import Cell, name_of
from ..errors import BatchAxisError
from ..filter import Filter, Predicate, to_predicate
from ..state import State
from ..typing import Missing
from .arguments import Arguments
from .binding import check_callable
from .lane_states import Axes, Leaving, Mark, Treatment, Written
from .lanes import Lanes, Placing, Prefix


def _is_shared(path: Any, state: Any) -> bool:
    return state.kind == "nonbatch"


UNBATCHED = (_is_shared, "INIT_NO_BATCHING")
"""A filter: States of which there is one for all lanes, whoever creates them."""


def vmap(
    fn: Any = Missing,
    *,
    in_axes: Prefix = 0,
    out_axes: Prefix = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
    spmd_axis_name: Any = None,
    in_states: Any = None,
    out_states: Any = None,
) -> Any:
    """Return a function that runs ``fn`` for many lanes at once.

    A State that ``fn`` only reads is shared by all lanes, and so is one that it writes with the
    same value in every lane. One that differs from lane to lane must be declared, or be created
    inside ``fn``. Random States are split, so that every lane draws its own numbers.

    Parameters
    ----------
    fn : callable
        What one lane does. Left out, ``vmap`` returns a decorator.
    in_axes, out_axes : int, None, or pytree prefix of them
        Where arguments have their lanes, and where results get them; None for what all lanes share.
    axis_name : hashable, optional
        What collectives such as ``jax.lax.psum`` call the lanes.
    axis_size : int, optional
        How many lanes; needed where no argument and no State tells.
    spmd_axis_name
        Accepted for JAX's sake: a hint on where arrays lie, which changes no number.
    in_states, out_states : State, collection of States, or {axis: States}, optional
        States that hold one value a lane, at axis 0 or the axis given; one in ``in_states`` is in
        ``out_states`` too.

    Raises
    ------
    ValueError
        If the number of lanes is unknown or contradictory, or ``in_axes`` does not fit the
        arguments.
    BatchAxisError
        If an undeclared State would differ from lane to lane.
    NotImplementedError
        If the returned function is called with keyword arguments.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> @brainir.transform.vmap
    ... def trial(current):
    ...     v = brainir.HiddenState(jnp.zeros(()))
    ...     def step():
    ...         v.value = v.value * 0.5 + current
    ...         return v.value
    ...     return brainir.transform.for_loop(step, length=3)
    >>> trial(jnp.array([1.0, 2.0]))
    Array([[1.  , 1.5 , 1.75],
           [2.  , 3.  , 3.5 ]], dtype=float32)
    """
    if fn is Missing:
        options = {k: v for k, v in locals().items() if k != "fn"}
        return functools.partial(vmap, **options)
    check_callable("the function given to vmap", fn)
    entering = _state_axes("in_states", in_states)
    leaving = _state_axes("out_states", out_states)
    for state, axis in entering.items():
        if leaving.setdefault(state, axis) != axis:
            raise BatchAxisError(
                f"{state.describe()} has its lanes at axis {axis} in in_states but at axis "
                f"{leaving[state]} in out_states"
            )
    named = {state: Axes(entering.get(state), axis) for state, axis in leaving.items()}
    lanes = Lanes("vmap", fn, Treatment(named), _axes(in_axes), out_axes, axis_size, axis_name)
    return _by_position(lanes)


def vmap_new_states(
    fun: Any = Missing,
    *,
    in_axes: Prefix = 0,
    out_axes: Prefix = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
    spmd_axis_name: Any = None,
    state_tag: str | None = None,
    state_to_exclude: Filter = None,
    in_states: Any = None,
    out_states: Any = None,
) -> Any:
    """Return a function that runs ``fun`` for many lanes, and keeps the States that it creates.

    Afterwards each of them holds one value a lane, along a new leading axis. A ``NonBatchState``,
    and one with the tag ``"INIT_NO_BATCHING"``, stays as it is, and must be the same for all lanes.

    Parameters
    ----------
    fun : callable
        What one lane does. Left out, ``vmap_new_states`` returns a decorator.
    in_axes, out_axes, axis_name, axis_size, spmd_axis_name
        As for `vmap`.
    state_tag : str, optional
        A label for the States that are kept.
    state_to_exclude : filter, optional
        States that get no lanes: they are kept if all lanes leave them alike, and otherwise lost.
    in_states, out_states
        Not for this function: States that were there before are those of `vmap`.

    Raises
    ------
    ValueError
        If ``axis_size`` is not positive, ``in_states`` or ``out_states`` is given, or a State
        without lanes would differ between them.
    NotImplementedError
        If the returned function is called with keyword arguments.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> made = []
    >>> @brainir.transform.vmap_new_states
    ... def make(x):
    ...     made.append(brainir.State(x * jnp.ones(2)))
    >>> make(jnp.arange(3.0))
    >>> made[0].value.shape
    (3, 2)
    """
    if fun is Missing:
        options = {k: v for k, v in locals().items() if k != "fun"}
        return functools.partial(vmap_new_states, **options)
    check_callable("the function given to vmap_new_states", fun)
    if in_states is not None or out_states is not None:
        raise ValueError(
            "vmap_new_states is about States that are created inside the function; declare those "
            "that were there before to vmap, by in_states and out_states"
        )
    if axis_size is not None:
        check_lanes("axis_size of vmap_new_states", axis_size)
    states = Treatment(born=kept({0: ...}, state_tag, state_to_exclude))
    lanes = Lanes("vmap_new_states", fun, states, _axes(in_axes), out_axes, axis_size, axis_name)
    return _by_position(lanes)


def vmap2(
    fn: Any = Missing,
    *,
    in_axes: Prefix = 0,
    out_axes: Prefix = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
    spmd_axis_name: Any = None,
    state_in_axes: Any = None,
    state_out_axes: Any = None,
    unexpected_out_state_mapping: str = "auto",
) -> Any:
    """Return a function that runs ``fn`` for many lanes, with States chosen by filters.

    As `vmap`, but for States: see `StatefulMapping`, which this returns.

    Parameters
    ----------
    fn : callable
        What one lane does. Left out, ``vmap2`` returns a decorator.
    in_axes, out_axes, axis_name, axis_size, spmd_axis_name
        As for `vmap`. Keyword arguments have their lanes in front.
    state_in_axes, state_out_axes, unexpected_out_state_mapping
        As for `StatefulMapping`.

    Raises
    ------
    ValueError, BatchAxisError
        As `StatefulMapping`.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> total = brainir.ShortTermState(jnp.zeros(3))
    >>> def add(x):
    ...     total.value += x
    >>> brainir.transform.vmap2(add, state_in_axes=brainir.ShortTermState)(jnp.arange(3.0))
    >>> total.value
    Array([0., 1., 2.], dtype=float32)
    """
    options = {k: v for k, v in locals().items() if k not in ("fn", "spmd_axis_name")}
    if fn is Missing:
        return functools.partial(StatefulMapping, **options)
    return StatefulMapping(fn, **options)


class StatefulMapping:
    """A function over lanes, whose States are chosen by filters.

    Parameters
    ----------
    fun : callable
        What one lane does.
    in_axes, out_axes : int, None, or pytree prefix of them
        Where positional arguments have their lanes, and where results get them.
    state_in_axes, state_out_axes : filter, State, list of them, or {axis: such}, optional
        States that hold one value a lane, at axis 0 or at the axis given; None as an axis is for
        those that lanes share. What has lanes on the way in has them on the way out.
    unexpected_out_state_mapping : {"auto", "raise", "warn", "ignore"}
        What becomes of other States that lanes leave different. "raise" refuses; "warn" and
        "ignore" put the lanes in front, with and without a warning, so that the State gains an
        axis. So does "auto", unless lanes use what the State held, and it has as many rows as there
        are lanes: then each lane gets a row, and the State keeps its shape. It warns of a State
        that lanes use and that changes its shape, once. To find out, ``fun`` is traced a second
        time.
    static_argnums, static_argnames
        Arguments that are Python values rather than arrays; a negative number counts from the end.
    axis_size, axis_name
        As for `vmap`.
    name : str, optional
        What messages and graphs call the function.
    devices : Devices, optional
        Where lanes lie, if not all of them on one device.

    Raises
    ------
    ValueError
        If the policy is none of the four, a static argument is not there, or as `vmap`.
    BatchAxisError
        If axes of a State contradict each other, or it would differ from lane to lane and must not.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> power = brainir.transform.StatefulMapping(lambda x, n: x**n, static_argnums=1)
    >>> power(jnp.arange(3.0), 2)
    Array([0., 1., 4.], dtype=float32)
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        in_axes: Prefix = 0,
        out_axes: Prefix = 0,
        state_in_axes: Any = None,
        state_out_axes: Any = None,
        unexpected_out_state_mapping: str = "auto",
        static_argnums: int | Iterable[int] = (),
        static_argnames: str | Iterable[str] = (),
        axis_size: int | None = None,
        axis_name: Any = None,
        name: str | None = None,
        devices: Placing | None = None,
    ) -> None:
        check_callable("the function given to a mapping", fun)
        functools.update_wrapper(self, fun, updated=())
        if name is not None:
            self.__name__ = name
        self.origin_fun = fun
        self.in_axes, self.out_axes = _axes(in_axes), out_axes
        self.axis_size, self.axis_name = axis_size, axis_name
        numbers = () if static_argnums is None else static_argnums
        numbers = numbers if isinstance(numbers, Iterable) else (numbers,)
        self.static_argnums = tuple(map(operator.index, numbers))
        names = () if static_argnames is None else static_argnames
        self.static_argnames = (names,) if isinstance(names, str) else tuple(names)
        self._devices = devices
        self._states = _chosen(state_in_axes, state_out_axes, unexpected_out_state_mapping)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run all lanes."""
        static = [self._place(number, len(args)) for number in self.static_argnums]
        arguments = Arguments(self.origin_fun, static, self.static_argnames, ())
        in_axes = self.in_axes
        if isinstance(in_axes, tuple) and len(in_axes) == len(args):
            in_axes = tuple(a for i, a in enumerate(in_axes) if i not in arguments.static)
        closed = arguments.closed(args, kwargs)

        @functools.wraps(self.origin_fun, updated=())
        def function(*args: Any, **kwargs: Any) -> Any:
            return closed(*args, **kwargs)

        function.__name__ = name_of(self)
        args, kwargs = arguments.dynamic(args, kwargs)
        rest = self.out_axes, self.axis_size, self.axis_name, self._devices
        return Lanes("a mapping", function, self._states, in_axes, *rest)(*args, **kwargs)

    def _place(self, number: int, count: int) -> int:
        if not -count <= number < count:
            raise ValueError(
                f"static_argnums names argument {number}, but {name_of(self)} was called with "
                f"{count} by position"
            )
        return number % count

    def __repr__(self) -> str:
        return f"StatefulMapping({name_of(self)})"


def vmap2_new_states(
    module: Any,
    init_kwargs: Mapping[str, Any] | None = None,
    state_tag: str | None = None,
    axis_size: int | None = None,
    state_out_axes: Any = None,
    spmd_axis_name: Any = None,
) -> dict[int | None, list[State[Any]]]:
    """Make the States of a module for many lanes at once, by its ``init_all_states``.

    Parameters
    ----------
    module : Module
        The module; every lane draws random numbers of its own.
    init_kwargs : mapping, optional
        What ``init_all_states`` is called with.
    state_tag : str, optional
        A label for the States.
    axis_size : int
        How many lanes.
    state_out_axes : filter, or {axis: filter}, optional
        Where States have their lanes; in front unless something else is said. None as an axis is
        for those of which there is one for all lanes.
    spmd_axis_name
        As for `vmap`.

    Returns
    -------
    dict
        The new States, by their axis. A ``NonBatchState``, and one with the tag
        ``"INIT_NO_BATCHING"``, has None.

    Raises
    ------
    ValueError
        If ``axis_size`` is not a positive integer, or a State without lanes would differ.

    Examples
    --------
    >>> import brainir
    >>> neuron = brainir.nn.LIF(2)
    >>> new = brainir.transform.vmap2_new_states(neuron, {}, axis_size=3)
    >>> new[0] == [neuron.V], neuron.V.value.shape
    (True, (3, 2))
    """
    check_lanes("axis_size of vmap2_new_states", axis_size)
    return new_states("vmap2_new_states", module, init_kwargs, state_tag, axis_size, state_out_axes)


def new_states(
    what: str,
    module: Any,
    init_kwargs: Mapping[str, Any] | None,
    state_tag: str | None,
    axis_size: int | None,
    state_out_axes: Any,
    axis_name: Any = None,
    devices: Placing | None = None,
) -> dict[int | None, list[State[Any]]]:
    """Make the States of a module for many lanes; return them by their axis."""
    groups = state_out_axes if _is_by_axis(state_out_axes) else {0: state_out_axes}
    axis_of, found = kept({**groups, "else": ...}, state_tag), dict[int | None, list[State[Any]]]()

    def born(state: State[Any]) -> Leaving:
        axis: Any = axis_of(state)
        axis = 0 if axis == "else" else axis
        found.setdefault(axis, []).append(state)
        return axis

    def init() -> None:
        module.init_all_states(**(init_kwargs or {}))

    states = Treatment(born=born)
    Lanes(what, init, states, axis_size=axis_size, axis_name=axis_name, devices=devices)()
    return found


def call_in_lanes(
    what: str,
    call: Callable[[], None],
    states: Collection[State[Any]],
    axis_size: int | None,
    state_tag: str | None = None,
    excluded: Filter = None,
) -> None:
    """Call something once for each lane, which makes States, or makes some ``states`` anew."""
    check_lanes(f"axis_size of {what}", axis_size)
    known, unbatched = set(states), to_predicate(UNBATCHED)

    def choose(state: State[Any]) -> Axes | None:
        return Axes(None, Mark.OPEN) if state in known else None

    def settle(written: Written) -> Axes:
        if unbatched((), written.state) or not (written.differs or written.row):
            return Axes(None, None)
        return Axes(0, 0) if written.differs and written.fits else Axes(None, 0)

    treatment = Treatment({}, choose, settle, kept({0: ...}, state_tag, excluded))
    Lanes(what, call, treatment, axis_size=axis_size)()


def in_new_state_probe() -> bool:
    """Whether a throw-away run of a function is under way, which is to find its new States.

    There never is one: a function is traced once, and what it creates is kept. So this is False.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.in_new_state_probe()
    False
    """
    return False


# --- what the doors say of States -----------------------------------------------------------------


def kept(
    axes: Mapping[Any, Filter], state_tag: str | None = None, excluded: Filter = None
) -> Callable[[State[Any]], Leaving]:
    """Return what says where a new State has its lanes, and gives it a label.

    Parameters
    ----------
    axes : mapping
        From each axis to what is there; the first that fits counts.
    state_tag : str, optional
        The label.
    excluded : filter
        States that get no lanes: they are kept if all lanes leave them alike.
    """
    leave_out, unbatched = to_predicate(excluded), to_predicate(UNBATCHED)
    groups = [(axis, _predicate(group)) for axis, group in axes.items()]

    def born(state: State[Any]) -> Leaving:
        if leave_out((), state):
            return Mark.OPEN
        if state_tag is not None:
            state.add_tag(state_tag)
        if unbatched((), state):
            return None
        return next((axis for axis, fits in groups if fits((), state)), Mark.LOCAL)

    return born


def _chosen(entering: Any, leaving: Any, policy: str) -> Treatment:
    """Return the treatment of States that filters choose, others by a policy."""
    if policy not in ("auto", "raise", "warn", "ignore"):
        raise ValueError(
            f"unexpected_out_state_mapping is 'auto', 'raise', 'warn' or 'ignore', not {policy!r}"
        )
    ways = [
        [(axis, _predicate(group)) for axis, group in _by_axis(given).items()]
        for given in (entering, leaving)
    ]
    undeclared = None if policy == "raise" else Axes(None, Mark.OPEN)
    nowhere = Mark.LOCAL  # no group has it

    def choose(state: State[Any]) -> Axes | None:
        into, out = (
            next((axis for axis, fits in groups if fits((), state)), nowhere) for groups in ways
        )
        if isinstance(into, int):
            if isinstance(out, int) and out != into:
                raise BatchAxisError(
                    f"{state.describe()} has its lanes at axis {into} in state_in_axes but at axis "
                    f"{out} in state_out_axes"
                )
            return Axes(into, into)
        return undeclared if out is nowhere else Axes(None, out)

    return Treatment(choose=choose, settle=_Policy(policy).settle)


class _Policy:
    """What becomes of a State that nobody declared and that lanes leave different."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.told: weakref.WeakSet[State[Any]] = weakref.WeakSet()

    def settle(self, written: Written) -> Axes:
        """Return the axes of a State."""
        if not written.differs:
            return Axes(None, None)
        if self.policy == "auto" and written.fits:
            return Axes(0, 0)
        state = written.state
        tell = self.policy == "warn"
        if self.policy == "auto" and written.used and state not in self.told:
            self.told.add(state)
            tell = True
        if tell:
            warnings.warn(
                f"{state.describe()} is left with another value by each lane, but is not in "
                "state_out_axes: it gets an axis of lanes in front. Declare it, or choose "
                "unexpected_out_state_mapping='ignore'",
                stacklevel=2,
            )
        return Axes(None, 0)


def _is_by_axis(given: Any) -> bool:
    """Whether it is said for each axis what is there."""
    axes = isinstance(given, Mapping) and all(k is None or isinstance(k, int) for k in given)
    return axes and bool(given)


def _by_axis(given: Any) -> Mapping[int | None, Any]:
    return given if _is_by_axis(given) else {0: given}


def _predicate(group: Any) -> Predicate:
    """Return a predicate of a filter, a State, or a collection of both."""
    if isinstance(group, Cell):
        return lambda path, state: state is group
    if isinstance(group, Mapping):
        group = list(group.values())
    if isinstance(group, list | tuple):
        parts = list(map(_predicate, group))
        return lambda path, state: any(part(path, state) for part in parts)
    return to_predicate(group)


def _state_axes(what: str, given: Any) -> dict[State[Any], int]:
    """Return where each State that was named has its lanes."""
    if given is None:
        return {}
    groups = given.items() if _is_by_axis(given) and None not in given else [(0, given)]
    axes: dict[State[Any], int] = {}
    for axis, tree in groups:
        for leaf in jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Cell)):
            if not isinstance(leaf, Cell):
                raise TypeError(f"{what} holds {leaf!r}, which is not a State")
            if axes.setdefault(cast(State[Any], leaf), axis) != axis:
                raise BatchAxisError(f"{leaf.describe()} stands in {what} with two axes")
    return axes


# --- what the doors share -------------------------------------------------------------------------


def _axes(in_axes: Prefix) -> Prefix:
    return tuple(in_axes) if isinstance(in_axes, list) else in_axes


def check_lanes(what: str, size: Any) -> None:
    """Refuse what is not a number of lanes.

    Raises
    ------
    ValueError
        If it is not a positive integer.
    """
    if isinstance(size, bool) or not hasattr(size, "__index__") or operator.index(size) < 1:
        raise ValueError(f"{what} is a positive integer, not {size!r}")


def _by_position(lanes: Lanes) -> Callable[..., Any]:
    """Return a function of a mapping that takes no keyword arguments."""

    @functools.wraps(lanes.fn, updated=())
    def mapped(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise NotImplementedError(
                f"a function returned by {lanes.what} takes no keyword arguments: pass them by "
                "position"
            )
        return lanes(*args)

    return mapped
