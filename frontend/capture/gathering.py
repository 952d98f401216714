"""What the checks of a function find, as values beside its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax

from ...backends import shape_struct
from ...ir import Type
from .avals import aval_of
from .checks import Checks, Site
from .equations import GATHER_CHECKS
from .frames import Frame, current_frame
from .importer import import_traced
from .naming import name_of
from .regions import Region, bind_region, leave
from .state_primitives import read, settle, write
from .tracing import trace

Sites = tuple[tuple[Site, tuple[Type, ...]], ...]


def gather_checks(
    function: Callable[..., Any],
    kinds: Iterable[str],
    args: tuple[Any, ...],
    still: bool = False,
) -> tuple[Any, list[Any], Sites]:
    """Run a function of which the checks of some kinds are gathered rather than raised.

    Parameters
    ----------
    function, args
        What is called.
    kinds : iterable of str
        Of the checks.
    still : bool
        Whether States are left as they were.

    Returns
    -------
    result, held, sites
        What the function returns; the number of the first check that failed, or 0, and what each
        check has to say; and the checks themselves.
    """
    frame = current_frame()
    if frame is None:
        raise RuntimeError("checks can only be gathered inside a capture")
    settle(frame)
    leaves, tree = jax.tree.flatten(args)
    avals = jax.tree.unflatten(tree, [aval_of(x) for x in leaves])
    body = trace(function, avals)
    if still:
        body = trace(_still(function, body.frame), avals)
    attrs = {"kinds": frozenset(kinds)}
    # What is checked shows when the function is imported, but its types must be known before.
    sites = _sites(body, attrs["kinds"])
    types = [Type("int32"), *(type for _, shown in sites for type in shown)]
    avals = (*body.out_avals, *map(shape_struct, types))
    spec = Region(GATHER_CHECKS, attrs, (body,), len(leaves), avals, name_of(function))
    results: Sequence[Any] = bind_region(spec, leaves)
    leave(body, frame)
    count = len(body.out_avals)
    return jax.tree.unflatten(body.out_tree, results[:count]), list(results[count:]), sites


def _still(function: Callable[..., Any], frame: Frame) -> Callable[..., Any]:
    """Return a function that leaves States as they are, given what it did to them in a frame."""
    written = [handle for handle in frame.written if handle not in frame.created]

    def run(*args: Any) -> Any:
        before = [(handle, jax.tree.map(lambda x: x, read(handle))) for handle in written]
        result = function(*args)
        for handle, value in before:
            write(handle, value)
        return result

    return run


def _sites(body: Any, kinds: frozenset[str]) -> Sites:
    found = Checks(kinds)
    import_traced(body, "", rules=0, gathered=found)
    return found.sites
