"""The exceptions that users of brainir can catch."""

from __future__ import annotations


class BrainIRError(Exception):
    """The base of brainir's own errors."""


class TraceContextError(BrainIRError):
    """A State was used where it has no value: after its trace ended, or in a foreign trace."""


class IRValidationError(BrainIRError, ValueError):
    """What should be a jaxpr, or a piece of one, is not."""


class UnsupportedPrimitiveError(BrainIRError, NotImplementedError):
    """A JAX primitive has no Python source."""


class BatchAxisError(BrainIRError):
    """A State inside ``vmap`` would need a batch axis that nobody declared."""
