"""What every test stands on: the CPU, strict dtype promotion, and hypothesis profiles.

The profile ``quick`` is the default and tries the same examples in every run.
``--hypothesis-profile nightly`` tries many, and new ones each time.
"""

import jax
import pytest
from hypothesis import HealthCheck, settings

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# An example that meets JAX for the first time compiles, so no single example has a deadline,
# and drawing a random program may be slow because it traces.
settings.register_profile(
    "quick",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "nightly", settings.get_profile("quick"), max_examples=1000, derandomize=False
)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option by which golden files are written anew."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the files in golden/")
