"""What every test stands on: a device, strict dtype promotion, and hypothesis profiles.

The device is the CPU, or what JAX_PLATFORMS says.

The profile ``quick`` is the default and tries the same examples in every run; about one in n cases
of a test that is marked ``sampled(n)``; and XLA takes less trouble with what it compiles, which is
most of the time. ``--hypothesis-profile nightly`` tries many examples, new ones each time,
all cases, and what XLA makes of programs for users.
"""

import io
import os
import shutil
import sys
from importlib.metadata import version
from zlib import crc32

if "nightly" not in sys.argv and "PYTEST_XDIST_WORKER" not in os.environ:  # workers inherit it
    flags = ["--xla_backend_optimization_level=0"]
    if version("jaxlib") < "0.11":  # later ones end the process, without a word, at a flag of old
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ.setdefault("XLA_FLAGS", " ".join(flags))

import jax
import pytest
from command_samples import GRAPH, SCRIPT
from hypothesis import HealthCheck, settings

jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))
jax.config.update("jax_numpy_dtype_promotion", "strict")

# An example that meets JAX for the first time compiles, so no single example has a deadline,
# and drawing a random program may be slow because it traces.
settings.register_profile(
    "quick",
    max_examples=16,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "nightly", settings.get_profile("quick"), max_examples=1000, derandomize=False
)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options: to write golden files anew, and to leave out no cases."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the files in golden/")
    parser.addoption("--all-cases", action="store_true", help="also of tests marked sampled(n)")


@pytest.hookimpl(tryfirst=True)  # before those of a mark are chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a browser; leave out most cases of slow tests, unless one is asked for."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    asked = config.getoption("all_cases") or any("::" in argument for argument in config.args)
    if asked or settings.get_current_profile_name() != "quick":
        return
    seen: set[str] = set()
    left: list[pytest.Item] = []
    for item in items:
        mark, name = item.get_closest_marker("sampled"), item.nodeid.partition("[")[0]
        # By what they are called, since every second case may be the same in some respect.
        if mark is not None and name in seen and crc32(item.nodeid.encode()) % mark.args[0]:
            left.append(item)
        seen.add(name)
    config.hook.pytest_deselected(items=left)
    gone = set(left)
    items[:] = [item for item in items if item not in gone]


@pytest.fixture
def script(tmp_path):
    """Return a function that writes a model's script, which may do more at the end."""

    def write(more="pass"):
        path = tmp_path / "model.py"
        path.write_text(SCRIPT.replace("{more}", more))
        (tmp_path / "helper.py").write_text("import brainunit as u\nRESISTANCE = 1.0 * u.ohm\n")
        return str(path)

    return write


@pytest.fixture
def leak(tmp_path):
    """The path of a graph in text."""
    path = tmp_path / "leak.bir"
    path.write_text(GRAPH)
    return str(path)


@pytest.fixture
def brainir_command(capsys, monkeypatch):
    """Return a function that runs a command and returns exit code, output and errors."""

    from brainir.frontend.tools.cli import main

    def run(*arguments, stdin=None):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def browser():
    """Return Chromium, without a window; skip the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if path is None:
        pytest.skip("there is no Chromium or Chrome to test the page in")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield launched
        launched.close()
