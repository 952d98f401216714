"""The graph after every pass that changes it, for whole programs, as files to read."""

from pathlib import Path

import pytest

from brainir.ir import equal, parse, verify
from brainir.passes import PIPELINE, run_pipeline

FOLDER = Path(__file__).parent / "golden"
PROGRAMS = sorted(path for path in FOLDER.glob("*.ir") if "." not in path.stem)


def stages_of(path: Path) -> str:
    """The text of a program after each pass that changes it."""
    sections: list[str] = []

    def record(step, before, after, seconds):
        verify(after, step.form)
        if not equal(before, after):
            sections.append(f"# after {step.name}\n\n{after}\n")

    run_pipeline(parse(path.read_text(), path.name), PIPELINE, [record])
    return "\n".join(sections)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_looks_the_same_at_every_stage(path, request):
    expected = path.with_suffix(".stages.ir")
    stages = stages_of(path)
    if request.config.getoption("--update-golden"):
        expected.write_text(stages)
    assert stages == expected.read_text(), "see what changed with --update-golden and git diff"
