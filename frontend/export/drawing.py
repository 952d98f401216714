"""Graphs as networkx graphs, and as drawings for Graphviz."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import networkx

from ...ir import Effect, Graph, Literal, Node, Operand, Printer, StateVar, Value
from .source_text import source_line


def to_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """Return a graph as a networkx graph: an edge for each use of a value.

    Every node has ``kind`` (``"op"``, ``"param"``, ``"const"``, ``"state"`` or ``"result"``),
    ``label``, ``region`` (which region it stands in: a tuple of numbers, empty at the top) and
    ``loc``; an op also has ``op``, the name of its op. An edge has the ``value`` that flows along
    it and its ``type``. Between a state and what reads or writes it there is an edge as well.

    Examples
    --------
    >>> import brainir
    >>> graph = brainir.transform.jit(lambda x: x + x).trace(1.0).graph()
    >>> drawn = brainir.tools.to_networkx(graph)
    >>> [data["label"] for _, data in drawn.nodes(data=True)]
    ['%x', 'add', 'return 0']
    """
    drawn = networkx.MultiDiGraph(name=graph.name)
    _Drawer(graph, drawn).run()
    return drawn


def to_dot(graph: Graph, types: bool = True) -> str:
    """Return a graph in the language of Graphviz; regions are boxes around what is in them.

    Parameters
    ----------
    graph : Graph
        At any stage.
    types : bool
        Whether arrows show the types of what flows along them.

    Examples
    --------
    >>> import brainir
    >>> graph = brainir.transform.jit(lambda x: x + x).trace(1.0).graph()
    >>> print(brainir.tools.to_dot(graph).splitlines()[0])
    digraph "lambda" {
    """
    drawn = to_networkx(graph)
    tree: dict[tuple[int, ...], list[str]] = {(): []}
    for name, data in drawn.nodes(data=True):
        tree.setdefault(data["region"], []).append(f"{name} [{_look(data)}];")
    lines = [f"digraph {_quoted(graph.name or 'graph')} {{"]
    lines += [
        "  node [fontname=Helvetica, fontsize=10];",
        "  edge [fontname=Helvetica, fontsize=8];",
    ]
    lines += _clusters((), tree, drawn.graph["titles"])
    for start, end, data in drawn.edges(data=True):
        label = f" [label={_quoted(data['type'])}]" if types else ""
        lines.append(f"  {start} -> {end}{label};")
    return "\n".join([*lines, "}"])


@dataclass(frozen=True)
class Drawing:
    """A drawing in the language of Graphviz, which notebooks show where Graphviz is installed.

    Attributes
    ----------
    text : str
        What Graphviz reads.
    """

    text: str

    @classmethod
    def of(cls, graph: Graph, types: bool = True) -> Drawing:
        """Return the drawing of a graph; see `to_dot`."""
        return cls(to_dot(graph, types))

    def to_string(self) -> str:
        """Return the text."""
        return self.text

    def create_svg(self) -> str:
        """Return the drawing as SVG.

        Raises
        ------
        NotImplementedError
            If Graphviz is not installed.
        """
        program = shutil.which("dot")
        if program is None:
            raise NotImplementedError(
                "drawings are made by Graphviz, whose program dot is not installed"
            )
        done = subprocess.run(
            [program, "-Tsvg"], input=self.text, capture_output=True, text=True, check=True
        )
        return done.stdout

    def _repr_svg_(self) -> str | None:
        return self.create_svg() if shutil.which("dot") else None


class _Drawer:
    """Adds the nodes of a graph and of its regions to a networkx graph.

    ``titles`` of the networkx graph says what each region is called.
    """

    def __init__(self, graph: Graph, drawn: Any) -> None:
        self._graph, self._drawn = graph, drawn
        self._name = Printer(graph).operand
        self._makers: dict[Value, str] = {}
        self._states: dict[StateVar, str] = {}
        self._titles: dict[tuple[int, ...], str] = {}
        drawn.graph["titles"] = self._titles

    def run(self) -> None:
        graph = self._graph
        for state in graph.states:
            self._state(state, ())
        for const in graph.consts:
            self._makers[const.value] = self._add("const", self._name(const.value), ())
        self._params(graph, ())
        self._nodes(graph, ())
        self._results(graph, (), "return")

    def _add(self, kind: str, label: str, region: tuple[int, ...], **data: Any) -> str:
        name = f"n{len(self._drawn)}"
        self._drawn.add_node(name, kind=kind, label=label, region=region, **{"loc": None, **data})
        return name

    def _state(self, state: StateVar, region: tuple[int, ...]) -> None:
        self._states[state] = self._add("state", f"@{state.name}", region)

    def _params(self, graph: Graph, region: tuple[int, ...]) -> None:
        for param in graph.params:
            self._makers[param] = self._add("param", self._name(param), region)

    def _nodes(self, graph: Graph, region: tuple[int, ...]) -> None:
        for node in graph.nodes:
            name = self._add("op", node.op.name, region, op=node.op.name, loc=node.loc)
            self._touch(node, name, region)
            for operand in node.operands:
                self._edge(operand, name)
            for i, body in enumerate(node.regions):
                inner = (*region, len(self._titles))
                self._titles[inner] = region_title(node, i)
                self._params(body, inner)
                self._nodes(body, inner)
                self._results(body, inner, "yield")
            self._makers.update(dict.fromkeys(node.results, name))

    def _results(self, graph: Graph, region: tuple[int, ...], word: str) -> None:
        for i, result in enumerate(graph.results):
            self._edge(result, self._add("result", f"{word} {i}", region))

    def _edge(self, operand: Operand, end: str) -> None:
        if isinstance(operand, Literal):
            return
        data = {"value": self._name(operand), "type": str(operand.type)}
        self._drawn.add_edge(self._makers[operand], end, **data)

    def _touch(self, node: Node, name: str, region: tuple[int, ...]) -> None:
        state = node.attrs.get("state")
        if not isinstance(state, StateVar):
            return
        if state not in self._states:
            self._state(state, region)
        ends = (self._states[state], name) if Effect.READ in node.op.effects else None
        start, end = ends or (name, self._states[state])
        types = ", ".join(map(str, state.types))
        self._drawn.add_edge(start, end, value=f"@{state.name}", type=types)


def node_title(node: Node) -> str:
    """Return what a node with regions is called: its op, and the function inside."""
    return f"{node.op.name} {node.regions[-1].name}".strip()


def region_title(node: Node, i: int) -> str:
    """Return what one of the regions of a node is called."""
    assert node.op.wiring is not None
    wiring, tests = node.op.wiring(node), set[int | None]()
    tests.update(gate.region for gate in wiring.gates)
    if tests - {None}:
        return "condition" if i in tests else "body"
    if len(node.regions) > 1:
        return f"{'branch' if wiring.chosen else 'region'} {i}"
    return node_title(node)


def _clusters(
    region: tuple[int, ...],
    tree: dict[tuple[int, ...], list[str]],
    titles: dict[tuple[int, ...], str],
) -> Iterator[str]:
    """Yield the lines of a region, with those of the regions inside it."""
    indent = "  " * (len(region) + 1)
    for line in tree.get(region, ()):
        yield indent + line
    for inner in titles:
        if inner[:-1] == region:
            yield f"{indent}subgraph cluster_{'_'.join(map(str, inner))} {{"
            yield f"{indent}  label={_quoted(titles[inner])};"
            yield from _clusters(inner, tree, titles)
            yield f"{indent}}}"


_SHAPES = {
    "op": "box",
    "param": "ellipse",
    "const": "ellipse",
    "state": "cylinder",
    "result": "plain",
}


def _look(data: dict[str, Any]) -> str:
    look = f"label={_quoted(data['label'])}, shape={_SHAPES[data['kind']]}"
    if data["loc"] is not None:
        shown = f"{data['loc']}  {source_line(data['loc'])}".rstrip()
        look += f", tooltip={_quoted(shown)}"
    return look


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
