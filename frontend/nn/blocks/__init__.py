"""The layers that models are built of."""

from . import (
    activations,
    connections,
    convolution,
    dropout,
    elementwise,
    embedding,
    linear,
    normalization,
    pooling,
    recurrent,
)
from .activations import *  # noqa: F403
from .connections import *  # noqa: F403
from .convolution import *  # noqa: F403
from .dropout import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .embedding import *  # noqa: F403
from .linear import *  # noqa: F403
from .normalization import *  # noqa: F403
from .pooling import *  # noqa: F403
from .recurrent import *  # noqa: F403

__all__ = []
__all__ += activations.__all__
__all__ += connections.__all__
__all__ += convolution.__all__
__all__ += dropout.__all__
__all__ += elementwise.__all__
__all__ += embedding.__all__
__all__ += linear.__all__
__all__ += normalization.__all__
__all__ += pooling.__all__
__all__ += recurrent.__all__
