"""What the package contains, and which layer may import what."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


class Layer(NamedTuple):
    """What the files of a layer may import beside the standard library and their own layer."""

    below: set[str]
    libraries: set[str]
    lazily: frozenset[str] = frozenset()


LAYERS = {
    "ir": Layer(set(), {"numpy"}),
    "passes": Layer({"ir"}, {"numpy", "networkx"}),
    "backends": Layer({"ir"}, {"numpy", "jax", "llvmlite"}),
    "frontend": Layer(
        {"ir", "passes", "backends"},
        {"numpy", "jax", "brainunit", "networkx"},
        lazily=frozenset({"tqdm", "rich", "hypothesis", "IPython"}),
    ),
}


ROOMS = (
    {"errors", "filter", "typing", "snapshot", "overlay", "environ", "options"},
    {"capture", "hooks"},
    {"state"},
    {"graph"},
    {"util", "mixin"},
    {"program"},
    {"export"},
    {"event", "random", "init", "surrogate"},
    {"transform"},
    {"nn"},
    {"validation", "ecosystem"},
    {"artifact", "tools"},
    {"testing"},
)
"""The rooms of the frontend; each may use those above it in this list, and its own row."""

IMPORTED_BY_NAME = {"frontend/testing"}
"""Folders that nothing else imports, so that they may need an optional library."""


class Import(NamedTuple):
    """One imported module: ``brainir.x.y`` where the file wrote it relatively."""

    module: str
    relative: bool
    lazy: bool
    line: int


def package_of(path: Path) -> list[str]:
    """The package that a library file belongs to, as parts of its dotted name."""
    parts = list(path.relative_to(ROOT).parent.parts)
    return parts if parts[0] == "brainir" else ["brainir", *parts]


def imports_of(path: Path) -> Iterator[Import]:
    """Every import statement of a file, with relative names made absolute."""
    tree = ast.parse(path.read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Lambda)]
    inside = {inner for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, False, node in inside, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            module = [node.module] if node.module else []
            if node.level:
                package = package_of(path)
                module = package[: len(package) - node.level + 1] + module
            if module in (["brainir"], ["brainir", "frontend"]):  # `from .. import ir`: the layer
                for alias in node.names:
                    name = ".".join((*module, alias.name))
                    yield Import(name, node.level > 0, node in inside, node.lineno)
            else:
                yield Import(".".join(module), node.level > 0, node in inside, node.lineno)


def library_files() -> list[Path]:
    return [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def is_package(module: str) -> bool:
    return (ROOT.joinpath(*module.split(".")[1:]) / "__init__.py").exists()


def fault_of(layer: str, found: Import, folder: str = "") -> str | None:
    """What is wrong with an import in a file of a folder of a layer, or None."""
    top, *rest = found.module.split(".")
    allowed = LAYERS[layer]
    if top == "brainir":
        if not found.relative:
            return "library files import each other relatively"
        if rest[:1] == [layer]:
            return None
        if not rest or rest[0] not in allowed.below:
            return f"{layer}/ may import only {sorted(allowed.below)} of ours"
        if not is_package(found.module):
            return f"import it through the __init__ of {rest[0]}/"
        return None
    if top in sys.stdlib_module_names or top in allowed.libraries:
        return None
    if top in allowed.lazily:
        fine = found.lazy or folder in IMPORTED_BY_NAME
        return None if fine else f"{top} is optional: import it where it is used"
    return f"{layer}/ may import only {sorted(allowed.libraries)} beside the standard library"


def test_packages_name_every_folder_with_an_init_file():
    folders = {path.parent for path in library_files() if path.name == "__init__.py"}
    folders.add(ROOT / "brainir")
    names = {
        ".".join(package_of(folder / "__init__.py")): folder.relative_to(ROOT).as_posix()
        for folder in folders
    }
    assert set(SETUPTOOLS["packages"]) == set(names)
    assert SETUPTOOLS["package-dir"] == names


def test_every_library_file_is_in_a_package():
    homeless = [path for path in library_files() if not (path.parent / "__init__.py").exists()]
    assert homeless == []


@pytest.mark.parametrize("layer", LAYERS)
def test_the_link_under_brainir_leads_to_the_layer(layer):
    link = ROOT / "brainir" / layer
    assert link.readlink() == Path("..") / layer
    assert link.resolve() == (ROOT / layer).resolve()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_what_lies_below_it(layer):
    faults = [
        f"{path.relative_to(ROOT)}:{found.line}: {found.module}: {fault}"
        for path in sorted((ROOT / layer).rglob("*.py"))
        for found in imports_of(path)
        if (fault := fault_of(layer, found, path.relative_to(ROOT).parent.as_posix()))
    ]
    assert not faults, "\n".join(faults)


def room_of(module: str) -> str | None:
    """The room of the frontend that a dotted name leads to, None if it leads elsewhere."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["brainir", "frontend"] and len(parts) > 2 else None


def test_a_room_of_the_frontend_uses_only_those_that_stand_above_it():
    row_of = {room: row for row, rooms in enumerate(ROOMS) for room in rooms}
    for path in sorted((ROOT / "frontend").rglob("*.py")):
        own = room_of(".".join((*package_of(path), path.stem)))
        if own == "__init__":
            continue
        assert own in row_of, f"{path.name} stands in no room: name it in ROOMS"
        for found in imports_of(path):
            room = room_of(found.module)
            if room in row_of and room != own:  # testing takes names from the frontend's door
                where = f"{path.relative_to(ROOT)}:{found.line}"
                assert row_of[room] <= row_of[own], f"{where} uses {room}, which stands below {own}"


@pytest.mark.parametrize("folder", ["tests", "examples", "benchmarks"])
def test_users_of_the_library_import_it_absolutely(folder):
    faults = [
        f"{path.relative_to(ROOT)}:{found.line}: {found.module}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for found in imports_of(path)
        if found.module.split(".")[0] in LAYERS
        or (found.relative and not found.module.startswith(f"brainir.{folder}."))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("layer", "source", "fault"),
    [
        ("ir", "import jax", "numpy"),
        ("ir", "from ..passes import pipelines", "ours"),
        ("passes", "import jax.numpy as jnp", "networkx"),
        ("passes", "from brainir.ir import Graph", "relatively"),
        ("passes", "from ..ir.graph import Graph", "through"),
        ("backends", "from .. import passes", "ours"),
        ("frontend", "import tqdm", "optional"),
        ("frontend", "import brainstate", "beside"),
        ("frontend", "from .. import __version__", "ours"),
    ],
)
def test_a_forbidden_import_is_noticed(layer, source, fault, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / layer / "file.py"
    path.parent.mkdir()
    path.write_text(source)
    (found,) = imports_of(path)
    assert fault in (fault_of(layer, found) or "")


def test_an_optional_library_may_be_imported_inside_a_function(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "frontend" / "progress.py"
    path.parent.mkdir()
    path.write_text("def show():\n    from tqdm.auto import tqdm\n    return tqdm")
    (found,) = imports_of(path)
    assert fault_of("frontend", found) is None


@pytest.mark.parametrize("folder", sorted(IMPORTED_BY_NAME))
def test_nothing_imports_what_needs_an_optional_library(folder):
    name = "brainir." + folder.replace("/", ".")
    for path in library_files():
        inside = path.is_relative_to(ROOT / folder)
        found = () if inside else imports_of(path)
        assert not [i for i in found if i.module.startswith(name)], path


def test_testing_says_what_it_needs():
    program = "import sys\nsys.modules['hypothesis'] = None\nimport brainir\nimport brainir.testing"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip().endswith("pip install hypothesis")


def test_code_of_others_is_packaged_with_its_licence():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    licences = {path for pattern in project["license-files"] for path in ROOT.glob(pattern)}
    foreign = [path for layer in LAYERS for path in (ROOT / layer).rglob("vendor/*.js")]
    assert foreign
    for path in foreign:
        assert path.with_name(path.name.replace(".min.js", ".LICENSE.txt")) in licences
    texts = "".join(path.read_text() for path in licences)
    for name, words in {
        "Apache-2.0": "Apache License",
        "MIT": "The above copyright notice and this permission notice shall be",
        "ISC": "Permission to use, copy, modify, and/or distribute this software",
        "BSD-2-Clause": "Redistributions in binary form must reproduce",
        "Unlicense": "free and unencumbered software",
    }.items():
        assert (name in project["license"].split(" AND ")) == (words in texts)
