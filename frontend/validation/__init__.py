"""Whether the compiler keeps what a function means.

- `validate`: the public function, its report, and going from stage to stage.
- `checking`: whether one step, a pass or a backend, keeps what a graph means.
- `comparison`: whether two outcomes are the same up to rounding.
- `reduction`: from a graph on which a step fails to a smallest one.
- `running`: graphs on arrays that are given or random, as the command ``run`` does it too.
- `edges`: inputs at which the comparisons in a graph are decided otherwise.
- `trials`: what became of a graph on other inputs, without going through the passes again.
- `writing`: graphs and inputs in files.
- `pure`: from a graph at any stage to one that a backend can emit.
- `jax_derivatives`: what `grad` and `jvp` mean by JAX, to compare with.
"""

from .validate import ValidationReport, validate

__all__ = ["ValidationReport", "validate"]
