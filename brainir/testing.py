"""Laws for ops, passes and transformations of your own, and random graphs and programs to try.

What brainir's own tests use: `check_op`, `check_pass`, `check_transformation`, `check_backend` and
`check_round_trip` fail with the smallest example that hypothesis finds, the graph as text. It needs
hypothesis, and is imported by its name: ``import brainir.testing``.
"""

from .frontend.testing import *  # noqa: F403
from .frontend.testing import __all__ as __all__
