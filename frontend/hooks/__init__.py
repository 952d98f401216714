"""Functions that are called when a State is read, written, restored or made."""

from . import contexts, everywhere, manager
from .contexts import *  # noqa: F403
from .everywhere import *  # noqa: F403
from .manager import *  # noqa: F403

__all__: list[str] = []
__all__ += contexts.__all__
__all__ += everywhere.__all__
__all__ += manager.__all__
