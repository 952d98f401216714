"""Other libraries' programs on our compiler: their States adopted, their transformations ours."""

from .brainstate_mode import TRIED, BrainstateMode, enter, leave
from .takeover import Takeover

LIBRARIES = {"brainstate": enter}
"""How to enter the mode in which programs of a library run."""

__all__ = ["LIBRARIES", "TRIED", "BrainstateMode", "Takeover", "enter", "leave"]
