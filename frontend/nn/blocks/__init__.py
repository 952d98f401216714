"""The layers that models are built of."""

from . import activations, elementwise, linear
from .activations import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .linear import *  # noqa: F403

__all__ = []
for _family in (activations, elementwise, linear):
    __all__ += _family.__all__
