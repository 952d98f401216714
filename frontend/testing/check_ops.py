"""`check_op`: the laws of ops, for an op of somebody's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...ir import Op, get_op
from .op_laws import LAWS, has_derivative
from .running import broken, try_all
from .samples import Array, Sample, samples_of

ABOUT_DERIVATIVES = (
    "derivatives agree with finite differences",
    "reverse mode is the transpose of forward mode",
)


def check_op(op: Op | str, *samples: Sample | Sequence[Array], examples: int | None = None) -> None:
    """Check that the rules of an op agree with each other.

    Inference predicts what numpy gives, lax agrees with numpy, batching equals stacking, forward
    mode agrees with finite differences and with reverse mode, the text is read back, and the cost
    is one that the op can have.

    Parameters
    ----------
    op : Op or str
        An op without regions and effects.
    *samples : Sample or tuple of arrays
        What to apply it to; a tuple holds operands for an op whose attributes all have defaults.
        Choose numbers where the op is smooth, or say so, see `Sample`. Without samples, they are
        drawn: small shapes of some dtypes that its inference accepts.
    examples : int, optional
        How many samples to draw; as many as the hypothesis profile says by default.

    Raises
    ------
    AssertionError
        If a law does not hold for a sample, or compared nothing at all. If samples were drawn, the
        message shows the smallest such sample; always the graph as text.
    ValueError
        If the op has regions or effects, or no samples can be drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.testing import Sample, check_op
    >>> check_op("sin", (np.linspace(-1, 1, 3, dtype=np.float32),))
    >>> check_op("squeeze", Sample("squeeze", (np.ones((3, 1), "float32"),), {"dimensions": (1,)}))
    """
    record = get_op(op) if isinstance(op, str) else op
    if record.has_regions or record.effects:
        what = "regions" if record.has_regions else "effects"
        raise ValueError(f"{record.name} has {what}; check the passes that meet it by check_pass")
    compared: Counter[str] = Counter()
    if samples:
        for sample in samples:
            given = sample if isinstance(sample, Sample) else Sample(record.name, tuple(sample))
            if given.op is not record:
                raise ValueError(f"a sample of {given.name} says nothing of {record.name}")
            _check(given, compared)
    else:
        drawn = samples_of(record)
        try_all(lambda data: _check(data.draw(drawn), compared), examples)
    idle = [law for law in LAWS if not compared[law] and _applies(law, compared)]
    if idle:
        raise AssertionError(
            f"op {record.name}: nothing was compared for {', '.join(idle)}; give samples that have "
            "elements, and at which the op is smooth"
        )


def _applies(law: str, compared: Counter[str]) -> bool:
    return law not in ABOUT_DERIVATIVES or compared["has a derivative"] > 0


def _check(sample: Sample, compared: Counter[str]) -> None:
    """Try every law on a sample, and count what was compared."""
    for law, check in LAWS.items():
        try:
            compared[law] += check(sample)
        except Exception as error:
            shown: dict[str, Any] = {"the operands": sample.operands}
            try:
                shown["the graph"] = sample.graph()
            except Exception as other:  # inference itself is at fault
                shown["the graph"] = f"cannot be built: {other}"
            raise broken(f"op {sample}: {law}", error, **shown) from error
    compared["has a derivative"] += has_derivative(sample) and sample.slopes != "kinks"
