"""What the transformations share: slices, types, and what loops and branches do to States."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ...ir import Loc
from ..capture import (
    Frame,
    Handle,
    Region,
    Traced,
    View,
    aval_of,
    bind_region,
    current_frame,
    leave,
    merge,
    name_of,
    read,
    settle,
    trace,
    write,
)


def frame_here() -> Frame:
    """Return the frame under way; transformations bind their region there."""
    frame = current_frame()
    if frame is None:
        raise RuntimeError("a region can only be bound inside a capture")
    settle(frame)
    return frame


def check_callable(what: str, function: Any) -> None:
    """Raise unless a function was given.

    Raises
    ------
    TypeError
        Naming the argument.
    """
    if not callable(function):
        raise TypeError(f"{what} must be callable, not {function!r}")


def check_count(what: str, count: Any, least: int) -> None:
    """Raise unless a count is a Python integer that is large enough.

    Raises
    ------
    ValueError
        Naming it.
    """
    if type(count) is not int or count < least:
        raise ValueError(f"{what} is a Python integer of at least {least}, not {count!r}")


def leading_length(what: str, xs: Any, length: int | None) -> int:
    """Return how many steps there are to run over ``xs``.

    Raises
    ------
    ValueError
        If there is nothing to iterate over, lengths disagree, or the number is below 0.
    """
    lengths: dict[str, int] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(xs):
        where = f"xs{jax.tree_util.keystr(path)}"
        shape = getattr(leaf, "shape", None)
        if shape is None or len(shape) == 0:
            raise ValueError(
                f"{what} iterates over leading axes, but {where} has no leading axis: {leaf!r}. "
                "Make it an array of one entry a step, or close over it."
            )
        lengths[where] = int(shape[0])
    if length is not None:
        lengths["length"] = int(length)
    if not lengths:
        raise ValueError(f"{what} needs arrays to iterate over, or length=")
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{where}: {n}" for where, n in lengths.items())
        raise ValueError(f"{what} iterates over leading axes of different lengths: {shown}")
    steps = next(iter(lengths.values()))
    if steps < 0:
        raise ValueError(f"{what} cannot run length={steps} steps; 0 is the least")
    return steps


def with_shape(aval: Any, shape: Sequence[int]) -> Any:
    """Return an aval of another shape."""
    return jax.ShapeDtypeStruct(tuple(shape), aval.dtype, weak_type=aval.weak_type)


def strong(aval: Any, dtype: Any = None) -> Any:
    """Return an aval without weak type, of another dtype if one is given."""
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype if dtype is None else dtype)


def joined_type(a: Any, b: Any) -> Any | None:
    """Return the type that two arrays take where either may stand, as ``0`` becomes ``0.0``.

    Only weak types give way, and never to a lower kind of number; None if that does not help. The
    order in which several types are joined does not matter.
    """
    if a.shape != b.shape:
        return None
    if a.dtype == b.dtype:
        return a if b.weak_type else b
    if a.weak_type and _category(a.dtype) <= _category(b.dtype):
        return b
    return a if b.weak_type and _category(b.dtype) <= _category(a.dtype) else None


def promoted(given: Any, wanted: Any) -> Any | None:
    """Return what a weakly typed array becomes beside another one; None if it stays or cannot."""
    joined = joined_type(given, wanted) if given.weak_type else None
    return None if joined is None or joined is given else joined


def _category(dtype: Any) -> int:
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    return next((i for i, kind in enumerate(kinds) if jnp.issubdtype(dtype, kind)), len(kinds))


def same_array(a: Any, b: Any) -> bool:
    """Whether two avals are of one shape and dtype."""
    return a.shape == b.shape and a.dtype == b.dtype


def mismatch(before: View, after: View) -> type[Exception] | None:
    """Return the class of the error that a change of a carried State is; None if there is none."""
    if before.tree != after.tree:
        return ValueError
    return None if before.same_types(after) else TypeError


def check_carried(what: str, body: Traced, frame: Frame) -> bool:
    """Check that States leave the body of a loop as they entered it.

    Returns
    -------
    bool
        Whether a weakly typed State was promoted, so that the body must be traced again.

    Raises
    ------
    TypeError
        If the shape or dtype of a State would change from step to step.
    ValueError
        If its structure or unit would.
    """
    again = False
    refused: Exception | None = None
    for handle, loc in list(body.frame.written.items()):
        if handle in body.frame.created:
            continue
        before, after = frame.view(handle), body.frame.views[handle]
        kind = mismatch(before, after)
        if kind is None:
            continue
        if kind is TypeError and _promote_state(handle, before, after):
            again = True
        elif refused is None:
            refused = kind(_changed(what, handle, before, after, loc))
    if refused is not None and not again:  # else it may fit once the others have their types
        raise refused
    return again


def trace_stable(what: str, function: Callable[..., Any], avals: Any) -> Traced:
    """Trace the body of a loop until States leave it with the types that they enter it with.

    A State that begins as a Python number takes its type from what the body writes, which may be
    made of another such State: each round can only raise types, so there is a last one.

    Raises
    ------
    TypeError, ValueError
        As `check_carried`.
    """
    body = trace(function, avals)
    while check_carried(what, body, frame_here()):
        body = trace(function, avals)
    return body


def _changed(what: str, handle: Handle, before: View, after: View, loc: Loc | None) -> str:
    where = f" (written at {loc})" if loc else ""
    return (
        f"{handle.state.describe()} changes in the body of {what}: it enters as {before} and "
        f"leaves as {after}{where}. A State that goes from step to step keeps its structure, "
        "shape, dtype and unit."
    )


def _promote_state(handle: Handle, before: View, after: View) -> bool:
    """Give a weakly typed State, say a Python number, the dtype that the loop gives it."""
    pairs = zip(before.avals, after.avals, strict=True)
    joined = [b if same_array(b, a) else promoted(b, a) for b, a in pairs]
    if any(j is None for j in joined):
        return False
    cast_state(handle, joined)
    return True


def cast_state(handle: Handle, avals: Sequence[Any]) -> None:
    """Write a State once more, as arrays of other dtypes; what was weakly typed may remain so."""
    value = read(handle)
    leaves, tree = jax.tree.flatten(value)
    new = [jnp.asarray(x, a.dtype) for x, a in zip(leaves, avals, strict=True)]
    write(handle, merge(value, jax.tree.unflatten(tree, new)))
    frame = frame_here()
    frame.views[frame.resolve(handle)] = View(tree, tuple(avals))


def check_branches(what: str, names: Sequence[str], bodies: Sequence[Traced]) -> None:
    """Check that branches return the same and leave States alike.

    Raises
    ------
    TypeError
        If results differ in structure, shape, dtype or unit, or a State would.
    """
    first = bodies[0]
    for name, body in zip(names[1:], bodies[1:], strict=True):
        alike = body.out_tree == first.out_tree and all(
            same_array(a, b) for a, b in zip(body.out_avals, first.out_avals, strict=True)
        )
        if not alike:
            raise TypeError(
                f"the branches of {what} must return the same: {names[0]} returns "
                f"{first.result}, {name} returns {body.result}"
            )
    frame = frame_here()
    for body, name in zip(bodies, names, strict=True):
        for handle, loc in body.frame.written.items():
            if handle in body.frame.created:
                continue
            for other, other_name in zip(bodies, names, strict=True):
                mine = body.frame.views[handle]
                theirs = other.frame.views.get(handle) or frame.view(handle)
                if mismatch(mine, theirs):
                    where = f" (written at {loc})" if loc else ""
                    raise TypeError(
                        f"the branches of {what} must leave {handle.state.describe()} alike: "
                        f"{name} leaves {mine}{where}, {other_name} leaves {theirs}"
                    )


def label(function: Callable[..., Any], role: str) -> str:
    """Return how a message calls one of several functions."""
    return f"{role} {name_of(function)!r}"


def bind_call(
    op: str,
    attrs: Mapping[str, Any],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    name: str,
) -> Any:
    """Bind a region that runs ``function(*args, **kwargs)`` once, and return its result."""
    frame = frame_here()
    leaves, tree = jax.tree.flatten((args, dict(kwargs)))
    avals = jax.tree.unflatten(tree, [aval_of(x) for x in leaves])
    body = trace(lambda args, kwargs: function(*args, **kwargs), avals)
    spec = Region(op, dict(attrs), (body,), len(leaves), body.out_avals, name)
    results = bind_region(spec, leaves)
    leave(body, frame)
    return jax.tree.unflatten(body.out_tree, results)
