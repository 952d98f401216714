r"""Sparse connections, and products of which rare spikes are the cost.

Spikes :math:`s`, of which few are not zero, times a matrix :math:`W` of connections: row :math:`i`
of :math:`W` is looked at only where neuron :math:`i` fires,

.. math:: y_j = \sum_{i:\, s_i \ne 0} s_i W_{ij}.

Names and meaning are those of brainevent.

>>> import jax.numpy as jnp
>>> import brainir
>>> connections = brainir.event.CSR(
...     (jnp.array([1.0, 2.0, 3.0]), [1, 2, 0], [0, 2, 3]), shape=(2, 3)
... )
>>> (jnp.array([True, False]) @ connections).tolist()
[0.0, 1.0, 2.0]
"""

from . import meanings as _meanings  # noqa: F401  # so that kernels know them
from .fixed import FixedNumConn, FixedNumPerPost, FixedNumPerPre
from .matrices import CSC, CSR
from .seeded import JITCScalarC, JITCScalarMatrix, JITCScalarR
from .spikes import BinaryArray

EventArray = BinaryArray
JITCHomoR, JITCHomoC = JITCScalarR, JITCScalarC
FixedPostNumConn = FixedNumPerPre
FixedPreNumConn = FixedNumPerPost

__all__ = [
    "CSC",
    "CSR",
    "BinaryArray",
    "EventArray",
    "FixedNumConn",
    "FixedNumPerPost",
    "FixedNumPerPre",
    "FixedPostNumConn",
    "FixedPreNumConn",
    "JITCHomoC",
    "JITCHomoR",
    "JITCScalarC",
    "JITCScalarMatrix",
    "JITCScalarR",
]
