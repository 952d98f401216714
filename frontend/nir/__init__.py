"""Models from and to the Neuromorphic Intermediate Representation.

Reference: J. E. Pedersen et al., *Neuromorphic intermediate representation: a unified instruction
set for interoperable brain-inspired computing*, Nature Communications 15, 8122 (2024). The library
``nir`` of the same authors holds the graphs and their files.
"""

from .maps import AvgPool2d, Delay, Scale, SumPool2d, Threshold
from .network import Network
from .neurons import IF, LI, LIF, CubaLI, CubaLIF, I
from .reading import from_nir
from .writing import to_nir

__all__ = [
    "IF",
    "LI",
    "LIF",
    "AvgPool2d",
    "CubaLI",
    "CubaLIF",
    "Delay",
    "I",
    "Network",
    "Scale",
    "SumPool2d",
    "Threshold",
    "from_nir",
    "to_nir",
]
