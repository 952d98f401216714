"""A graph is what its text says."""

from __future__ import annotations

from ...ir import Graph, equal, fingerprint, first_difference, parse, print_graph


def check_round_trip(graph: Graph) -> None:
    """Check that a graph is read back from its text, and is printed the same again.

    Parameters
    ----------
    graph : Graph
        In any form.

    Raises
    ------
    AssertionError
        If what is read differs; the message tells where, and ends with the text.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.testing import check_round_trip
    >>> check_round_trip(parse("graph @f(%x: f32[3]) -> (f32[3]) { return %x }"))
    """
    text = print_graph(graph)
    try:
        again = parse(text)
    except Exception as error:
        raise AssertionError(f"the text cannot be read: {error}\n\n{text}") from error
    place = first_difference(again, graph)
    if place is not None or not equal(again, graph):
        raise AssertionError(f"another graph is read from the text: {place}\n\n{text}")
    if fingerprint(again) != fingerprint(graph):
        raise AssertionError(f"what is read has another fingerprint\n\n{text}")
    printed = print_graph(again, locations=False)
    if printed != print_graph(graph, locations=False):
        raise AssertionError(f"what is read is printed otherwise:\n{printed}\n\n{text}")
