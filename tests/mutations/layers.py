"""Mistakes in layers and parameters."""

from .mutant import Mutant

MUTANTS = (
    Mutant(
        "no gradient goes through an event",
        "frontend/nn/blocks/connections.py",
        "fired + (numbers - jax.lax.stop_gradient(numbers))",
        "fired",
        ("tests/test_layers_weights.py::test_events_pass_gradients_as_products_do",),
    ),
    Mutant(
        "what padding adds counts in a mean",
        "frontend/nn/blocks/pooling.py",
        "total / self._reduced(jnp.ones_like(x), zero, jax.lax.add)",
        "total / np.prod(self.kernel_size).astype(x.dtype)",
        ("tests/test_layers_spatial.py::test_padding_is_neither_counted_nor_the_largest",),
    ),
    Mutant(
        "a kept value outlives the numbers that it comes from",
        "frontend/nn/parameters/param.py",
        "if self._cached is not None and self._cached[0] is free:",
        "if self._cached is not None:",
        ("tests/test_layers_parameters.py",),
    ),
    Mutant(
        "running statistics of a batch norm move in testing, too",
        "frontend/nn/blocks/normalization.py",
        "if self.track_running_stats and not fit:",
        "if False:",
        ("tests/test_layers_spatial.py",),
    ),
    Mutant(
        "gradients that are short enough are drawn out",
        "frontend/nn/parameters/clipping.py",
        "factor = jnp.where(too_long, max_norm / jnp.where(too_long, norm, 1), 1)",
        "factor = max_norm / norm",
        ("tests/test_layers_parameters.py",),
    ),
)
