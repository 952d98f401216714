"""Laws for ops, passes and transformations of one's own, and random graphs and programs to try.

Offered as `brainir.testing`; it needs hypothesis.
"""

try:
    import hypothesis as hypothesis
except ImportError as error:
    raise ImportError(
        "brainir.testing draws random graphs and programs with hypothesis, which is not installed: "
        "pip install hypothesis"
    ) from error

from .check_backends import check_backend
from .check_ops import check_op
from .check_passes import check_pass
from .check_transformations import check_transformation
from .graph_draft import KEY
from .random_graphs import (
    ALL,
    COMMON,
    Inputs,
    assert_close,
    assert_same_outcome,
    graphs,
    inputs_for,
)
from .round_trip import check_round_trip
from .samples import Sample, samples_of
from .stateful_programs import (
    Runner,
    World,
    gradient_programs,
    has_lanes,
    programs,
    wrong_programs,
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
    "wrong_programs",
]
