"""Trying laws on what hypothesis draws, and saying what breaks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ...ir import Graph

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)


def try_all(law: Callable[[st.DataObject], None], examples: int | None) -> None:
    """Try a law on what it draws, as often as the hypothesis profile at hand says.

    Parameters
    ----------
    law : callable
        ``law(data)`` draws with ``data.draw(strategy)``. It is run last on the smallest example
        that breaks it, so that its message tells of that one.
    examples : int or None
        How many to try; None for what the profile says.
    """
    profile = settings()
    chosen = settings(
        profile,
        deadline=None,  # what meets JAX for the first time compiles
        max_examples=examples or profile.max_examples,
        suppress_health_check=[*profile.suppress_health_check, *SLOW],
        phases=[phase for phase in profile.phases if phase is not Phase.explain],
        report_multiple_bugs=False,
    )

    @chosen
    @given(data=st.data())
    def tried(data: st.DataObject) -> None:
        law(data)

    tried()


def broken(law: str, error: Exception, **shown: Any) -> AssertionError:
    """Return what to raise where a law does not hold.

    Parameters
    ----------
    law : str
        The law, as a sentence.
    error : Exception
        How it was noticed.
    **shown
        Graphs, arrays and other things to show.
    """
    parts = [f"{law}: this does not hold", _told(error)]
    parts += [f"{name}:\n{_text(thing)}" for name, thing in shown.items()]
    return AssertionError("\n\n".join(parts))


def _told(error: Exception) -> str:
    text = str(error).strip()
    return text if isinstance(error, AssertionError) else f"{type(error).__name__}: {text}"


def _text(thing: Any) -> str:
    if isinstance(thing, Graph):
        return str(thing).strip()
    if isinstance(thing, Mapping):
        return "\n".join(f"{key} = {value!r}" for key, value in thing.items()) or "none"
    if isinstance(thing, Sequence) and not isinstance(thing, str):
        return "\n".join(map(repr, thing)) or "none"
    return str(thing)
