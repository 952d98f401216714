"""Which JAX trace we are in: States may hold traced values only of the one they were created in."""

from __future__ import annotations

from typing import Any

from ..capture import trace_token

__all__ = ["OUTSIDE", "in_foreign_trace", "same_trace"]

OUTSIDE = trace_token()
"""The token of no trace at all."""


def same_trace(token: Any) -> bool:
    """Whether JAX is in the very trace that the token was taken in."""
    return token == trace_token()


def in_foreign_trace() -> bool:
    """Whether a JAX transformation that is not ours is tracing right now."""
    return not same_trace(OUTSIDE)
