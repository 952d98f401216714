"""The graph after every pass that changes it, for whole programs, as files to read."""

import re
from pathlib import Path

import pytest
from tutorial_programs import PROGRAMS

from brainir import transform
from brainir.ir import Graph, equal, parse, verify
from brainir.passes import PIPELINE, run_pipeline

FOLDER = Path(__file__).parent / "golden"
WRITTEN = sorted(path for path in FOLDER.glob("*.ir") if "." not in path.stem)


def stages_of(graph: Graph) -> str:
    """The text of a program after each pass that changes it."""
    sections: list[str] = []

    def record(step, before, after, seconds):
        verify(after, step.form)
        if not equal(before, after):
            sections.append(f"# after {step.name}\n\n{after}\n")

    run_pipeline(graph, PIPELINE, [record])
    return "\n".join(sections)


def check(text: str, path: Path, request: pytest.FixtureRequest) -> None:
    """Compare a text with a file, or write the file."""
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert text == path.read_text(), "see what changed with --update-golden and git diff"


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_a_program_looks_the_same_at_every_stage(path, request):
    stages = stages_of(parse(path.read_text(), path.name))
    check(stages, path.with_suffix(".stages.ir"), request)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_transformation_of_the_tutorial_looks_the_same_at_every_stage(program, request):
    function, arguments = program()
    graph = transform.jit(function, name=program.__name__).trace(*arguments).graph("capture")
    text = f"# captured\n\n{graph}\n\n{stages_of(graph)}"
    text = re.sub(r" +# \w+\.py:\d+.*", "", text)  # so that lines may move there
    check(text, FOLDER / "tutorial" / f"{program.__name__}.stages.ir", request)
