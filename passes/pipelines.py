"""The passes, and the order in which they run."""

from __future__ import annotations

import ast
from typing import Any

from .common_subexpressions import common_subexpressions
from .dead_code import dead_code
from .distribute_loops import distribute_loops
from .expand_grad import expand_grad
from .expand_jvp import expand_jvp
from .expand_map import expand_map
from .expand_vmap import expand_vmap
from .forget_derivatives import forget_derivatives
from .group_steps import group_steps
from .hoist_invariant import hoist_invariant
from .hoist_state import hoist_state
from .inline_calls import inline_calls
from .manager import Pass
from .outline_kernels import outline_kernels
from .pack_alike import pack_alike
from .parallel_scan import parallel_scan
from .purify import purify
from .simplify import simplify
from .sort_out_zeros import sort_out_zeros
from .turn_matrices import turn_matrices

PIPELINE: tuple[Pass, ...] = (
    # Functions that were called by name are merged into their callers.
    Pass("inline-calls", inline_calls, "any"),
    # A map becomes a loop, or a loop over vmaps; states and random keys follow their rules.
    Pass("expand-map", expand_map, "any"),
    # States become values, so that what follows sees only pure regions.
    Pass("hoist-state", hoist_state, "hoisted"),
    # Loops of which a reverse is to keep little run in groups of steps, each a checkpoint.
    Pass("group-steps", group_steps, "hoisted"),
    # Lanes become a leading axis.
    Pass("expand-vmap", expand_vmap, "hoisted"),
    # Gradients are written out: reverse mode.
    Pass("expand-grad", expand_grad, "hoisted"),
    # Directional derivatives are written out: forward mode.
    Pass("expand-jvp", expand_jvp, "expanded"),
    # What was only for derivatives goes.
    Pass("forget-derivatives", forget_derivatives, "expanded"),
    # The same with less: neutral elements, constants, carries that never change.
    Pass("simplify", simplify, "expanded", optional=True),
    # What is the same in every step of a loop is computed before it.
    Pass("hoist-invariant", hoist_invariant, "expanded", optional=True),
    # Layer by layer in place of step by step, where that makes few large products of many small.
    Pass("distribute-loops", distribute_loops, "expanded", optional=True),
    # Recurrences that are affine run as a tree, where a device gains by that.
    Pass("parallel-scan", parallel_scan, "expanded", optional=True),
    # Matrices that loops would read across their rows are turned once.
    Pass("turn-matrices", turn_matrices, "expanded", optional=True),
    # What was computed before is used again.
    Pass("common-subexpressions", common_subexpressions, "expanded", optional=True),
    # Yields and carries of loops that are known to be equal only now are kept once, such as what
    # the parts of a distributed loop hand to each other.
    Pass("simplify-again", simplify, "expanded", optional=True),
    # What nobody uses is not computed.
    Pass("dead-code", dead_code, "expanded", optional=True),
    # What loops carry and compute alike is one array in place of many.
    Pass("pack-alike", pack_alike, "expanded", optional=True),
    # Loops that gain by it become machine code of their own.
    Pass("outline-kernels", outline_kernels, "expanded", optional=True),
    # Large products with spikes look whether few are set.
    Pass("sort-out-zeros", sort_out_zeros, "expanded", optional=True),
    # States at the edge become parameters and results: what backends emit.
    Pass("purify", purify, "pure"),
)
"""What every graph goes through between capture and a backend."""

_SHARING = ("expand-vmap", "hoist-invariant", "common-subexpressions")
"""Passes that let one computation serve several users."""

FOREIGN_PIPELINE = tuple(
    step.with_options(differentiable=True) if step.name in _SHARING else step
    for step in PIPELINE
    if step.name not in ("forget-derivatives", "pack-alike", "outline-kernels", "sort-out-zeros")
)
"""For what somebody else's ``jax.grad`` may differentiate: rules of derivatives stay, and each user
of what is not linear in the cotangent has one of its own. `pack-alike` stays out, since it was only
checked on graphs without such rules, and so do kernels, which whoever takes the graph makes."""

SHARDED_PIPELINE = tuple(
    step
    for step in PIPELINE
    if step.name
    in ("inline-calls", "expand-map", "hoist-state", "group-steps", "dead-code", "purify")
)
"""For the body of a ``jax.shard_map``: only JAX knows which values all devices share, so that their
gradients are sums over devices. Derivatives, and lanes around them, are left to it."""

ARRAY_PIPELINE = tuple(step for step in PIPELINE if step.name != "purify")
"""For a graph whose states have become arrays before: purifying it again would add them twice."""

PASSES: dict[str, Pass] = {step.name: step for step in PIPELINE}
"""All passes by name."""


def parse_pass(text: str) -> Pass:
    """Return the pass that text such as ``distribute-loops{memory=4}`` names, with its options.

    Raises
    ------
    ValueError
        If no pass has that name, it has no such option, or one is not written as ``key=value``.

    Examples
    --------
    >>> step = parse_pass("distribute-loops{memory=4}")
    >>> step.name, dict(step.options)
    ('distribute-loops', {'memory': 4})
    """
    name, brace, options = text.strip().partition("{")
    if name not in PASSES:
        raise ValueError(f"no pass is called {name!r}; there are {', '.join(PASSES)}")
    if not brace:
        return PASSES[name]
    if not options.endswith("}"):
        raise ValueError(f"the options of {text!r} are not closed by a brace")
    pairs = [option.partition("=") for option in options[:-1].split(",") if option.strip()]
    for key, equals, _ in pairs:
        if not equals:
            raise ValueError(f"option {key!r} of {name} needs a value: {key}=value")
    return PASSES[name].with_options(**{key.strip(): _value(value) for key, _, value in pairs})


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()
