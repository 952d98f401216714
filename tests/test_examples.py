"""The examples, each run at a small size: what it prints, and that it saves its figure."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run_example(monkeypatch, tmp_path, capsys):
    """Return a function that runs an example with arguments and returns what it prints."""
    pytest.importorskip("matplotlib")

    def run(name: str, arguments: str) -> str:
        spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [name, str(tmp_path), *arguments.split()])
        module.main()
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        return capsys.readouterr().out

    return run


def number(text: str, after: str) -> float:
    """Return the number that a pattern finds."""
    found = re.search(after, text)
    assert found is not None, text
    return float(found[1])


def test_a_neuron_of_hodgkin_and_huxley_starts_to_spike_at_its_known_current(run_example):
    text = run_example("hodgkin_huxley", "--currents 41 --time 150")
    assert number(text, r"begin at ([\d.]+)") == pytest.approx(6.25, abs=0.5)
    assert 80 < number(text, r"to (\d+) spikes/s") < 110


def test_the_network_of_vogels_and_abbott_keeps_itself_active(run_example):
    text = run_example("coba", "--size 2000 --targets 40 --time 100")
    for kind in ("excitatory", "inhibitory"):
        assert 3 < number(text, rf"([\d.]+) spikes/s of {kind}") < 50


def test_a_spiking_net_learns_to_tell_spike_trains_apart(run_example):
    sizes = "--classes 3 --channels 40 --hidden 48 --steps 40 --rows 16 --batches 150"
    text = run_example("shd_like", sizes)
    assert number(text, r"([\d.]+)% of") > 90
