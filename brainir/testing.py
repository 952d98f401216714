"""Laws for ops, passes and transformations of your own, and random graphs and programs to try.

What brainir's own tests use: `check_op`, `check_pass`, `check_transformation`, `check_backend` and
`check_round_trip` fail with the smallest example that hypothesis finds, the graph as text. It needs
hypothesis, and is imported by its name: ``import brainir.testing``.
"""

from .frontend.testing import (
    ALL,
    COMMON,
    KEY,
    Inputs,
    Runner,
    Sample,
    World,
    assert_close,
    assert_same_outcome,
    check_backend,
    check_op,
    check_pass,
    check_round_trip,
    check_transformation,
    gradient_programs,
    graphs,
    has_lanes,
    inputs_for,
    programs,
    samples_of,
)

__all__ = [
    "ALL",
    "COMMON",
    "KEY",
    "Inputs",
    "Runner",
    "Sample",
    "World",
    "assert_close",
    "assert_same_outcome",
    "check_backend",
    "check_op",
    "check_pass",
    "check_round_trip",
    "check_transformation",
    "gradient_programs",
    "graphs",
    "has_lanes",
    "inputs_for",
    "programs",
    "samples_of",
]
