"""`from_nir`: a graph of NIR into a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import nn
from ..surrogate import surrogates as surrogate
from . import maps, neurons
from .network import Network

__all__ = ["from_nir"]

NEURONS = {kind: getattr(neurons, kind) for kind in "I IF LI LIF CubaLI CubaLIF".split()}


def from_nir(
    graph: Any, dt: Any = None, spk_fun: Callable[[Any], Any] = surrogate.ReluGrad()
) -> Network:
    """Return a model of what a graph of NIR says.

    Parameters
    ----------
    graph : nir.NIRGraph
        The graph, such as ``nir.read(path)`` returns. It is not changed.
    dt : Quantity or float, optional
        The time step; a number is in seconds, as all times of NIR are. Without one it is that of
        ``environ`` when the model runs.
    spk_fun : callable
        A step function with a surrogate derivative, for what spikes.

    Returns
    -------
    Network
        Its modules have the names of the nodes. Weights of ``Linear``, ``Affine``, ``Conv1d``,
        ``Conv2d`` and ``Scale`` are ``ParamState``, so that they can be trained; a graph in the
        graph is a `Network`, too.

    Raises
    ------
    TypeError
        If it is not a graph.
    NotImplementedError
        If a node is of a kind that is not known here.
    ValueError
        If the shape of an input is not known, a weight has more than two axes, a graph inside has
        several inputs or outputs, or as `Network` does.

    Examples
    --------
    >>> import brainir, nir
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> one = np.ones(3)
    >>> cell = nir.LIF(tau=0.01 * one, r=one, v_leak=0 * one, v_threshold=one)
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.full((3, 2), 1.5)), cell)
    >>> net = brainir.nn.init_all_states(brainir.nir.from_nir(graph, dt=0.001))
    >>> brainir.transform.for_loop(net, jnp.ones((100, 2))).sum(axis=0)
    Array([20., 20., 20.], dtype=float32)
    """
    if type(graph).__name__ != "NIRGraph":
        raise TypeError(f"from_nir takes a nir.NIRGraph, not {graph!r}")
    return _network(graph, dt, spk_fun, "")


def _network(graph: Any, dt: Any, spk_fun: Any, path: str) -> Network:
    nodes, inputs, outputs, sizes = {}, {}, {}, {}
    for name, node in graph.nodes.items():
        kind, place = type(node).__name__, f"{path}{name}"
        if kind == "Input":
            inputs[name] = _size(node.input_type, place)
        elif kind == "Output":
            outputs[name] = _size(node.output_type, place)
        else:
            nodes[name] = _module(node, dt, spk_fun, place)
            size = _only(node.output_type)
            if size is not None:
                sizes[name] = _ints(size)
    try:
        return Network(nodes, graph.edges, inputs, outputs, sizes, graph.metadata)
    except ValueError as error:
        if path:
            error.add_note(f"in the graph {path.rstrip('.')!r}")
        raise


def _module(node: Any, dt: Any, spk_fun: Any, place: str) -> Callable[..., Any]:
    kind = type(node).__name__
    if kind in NEURONS:
        made = NEURONS[kind]
        parameters = {field: getattr(node, field) for field in made.fields}
        return made(dt=dt, spk_fun=spk_fun, **parameters)
    if kind == "NIRGraph":
        inner = _network(node, dt, spk_fun, f"{place}.")
        if len(inner.inputs) != 1 or len(inner.outputs) != 1:
            raise ValueError(
                f"the graph {place!r} inside has {len(inner.inputs)} inputs and "
                f"{len(inner.outputs)} outputs; edges can lead to one that has one of each"
            )
        return inner
    if kind == "Delay":
        return maps.Delay(node.delay, dt)
    if kind == "Threshold":
        return maps.Threshold(node.threshold, spk_fun)
    if kind not in MAKERS:
        others = ("Delay", "Threshold", "NIRGraph", "Input", "Output")
        known = ", ".join(sorted([*NEURONS, *MAKERS, *others]))
        raise NotImplementedError(f"the node {place!r} is a {kind}; known are {known}")
    return MAKERS[kind](node, place)


def _linear(node: Any, place: str) -> nn.Linear:
    weight = np.asarray(node.weight)
    if weight.ndim != 2:
        raise ValueError(f"the weight of {place!r} has {weight.ndim} axes; two can be read")
    bias = getattr(node, "bias", None)
    to, of = weight.shape
    bias = None if bias is None else neurons.as_numbers(bias)
    return nn.Linear(of, to, w_init=neurons.as_numbers(weight.T), b_init=bias)


def _convolution(node: Any, place: str) -> Any:
    weight = np.asarray(node.weight)
    count = weight.ndim - 2
    if node.input_shape is None:
        raise ValueError(f"the shape of the input of {place!r} is not known: give its input_shape")
    space = _ints(np.atleast_1d(node.input_shape))
    ones = (1,) * count

    def extent(value: Any) -> tuple[int, ...]:
        return tuple(int(n) for n in np.broadcast_to(value, count))

    padding: Any = node.padding
    if not isinstance(padding, str):
        padding = tuple((n, n) for n in extent(padding))
    return {1: nn.Conv1d, 2: nn.Conv2d}[count](
        (weight.shape[1] * int(node.groups), *space),
        weight.shape[0],
        weight.shape[2:],
        stride=extent(node.stride),
        padding=padding,
        rhs_dilation=extent(node.dilation),
        groups=int(node.groups),
        w_init=neurons.as_numbers(np.moveaxis(weight, (0, 1), (-1, -2))),
        b_init=neurons.as_numbers(np.reshape(node.bias, (-1, *ones))),
        channel_first=True,
    )


def _flatten(node: Any, place: str) -> nn.Flatten:
    return nn.Flatten(int(node.start_dim), int(node.end_dim), _size(node.input_type, place))


MAKERS: dict[str, Callable[[Any, str], Any]] = {
    "Linear": _linear,
    "Affine": _linear,
    "Conv1d": _convolution,
    "Conv2d": _convolution,
    "Flatten": _flatten,
    "Scale": lambda node, _: maps.Scale(node.scale),
    "SumPool2d": lambda node, _: maps.SumPool2d(node.kernel_size, node.stride, node.padding),
    "AvgPool2d": lambda node, _: maps.AvgPool2d(node.kernel_size, node.stride, node.padding),
}


def _only(types: Any) -> Any:
    """Return the one shape that a node tells of its inputs or outputs, None if it tells none."""
    shapes = list((types or {}).values())
    return shapes[0] if len(shapes) == 1 else None


def _size(types: Any, place: str) -> tuple[int, ...]:
    shape = _only(types)
    if shape is None:
        raise ValueError(
            f"the shape of the node {place!r} is not known: give its type in the graph"
        )
    return _ints(shape)


def _ints(shape: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in np.atleast_1d(shape))
