"""`to_nir`: a model into a graph of NIR."""

from __future__ import annotations

import itertools
from typing import Any

import brainunit as u
import numpy as np

from .. import nn
from . import maps, neurons
from .network import Network

__all__ = ["to_nir"]


def to_nir(model: Any) -> Any:
    """Return a graph of NIR that says what a model is.

    What has units is told in those of the SI without prefixes, such as seconds, volts and amperes.

    Parameters
    ----------
    model : Network, Sequential or Module
        A `Network`, such as :func:`from_nir` makes; or layers one after the other, or one:
        `Linear`, `Conv1d`, `Conv2d`, `Flatten`, `nn.LIF` with a hard reset, and what
        ``brainir.nir`` has. The first of them is to know its ``in_size``.

    Returns
    -------
    nir.NIRGraph
        ``nir.write(path, graph)`` makes a file of it.

    Raises
    ------
    ImportError
        If ``nir`` is not installed.
    NotImplementedError
        If NIR has no node for a module, or none for how it is set.
    ValueError
        If the shape of the input is not known.

    Examples
    --------
    >>> import brainir
    >>> net = brainir.nn.Sequential(brainir.nn.Linear(3, 2), brainir.nn.LIF(2, spk_reset="hard"))
    >>> graph = brainir.nir.to_nir(net)
    >>> list(graph.nodes), graph.nodes["1"].tau.tolist()
    (['input', '0', '1', 'output'], [0.005, 0.005])
    """
    nir = _library()
    if isinstance(model, Network):
        return _graph(nir, model, "")
    layers = list(model) if isinstance(model, nn.Sequential) else [model]
    size = getattr(model, "in_size", None)
    if size is None:
        raise ValueError("the shape of the input is not known: give the first layer an in_size")
    nodes = {str(i): _node(nir, layer, str(i)) for i, layer in enumerate(layers)}
    names = ["input", *nodes, "output"]
    out = getattr(model, "out_size", None)
    nodes = {
        "input": nir.Input(np.array(size)),
        **nodes,
        "output": nir.Output(None if out is None else np.array(out)),
    }
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)))


def _library() -> Any:
    try:
        import nir
    except ImportError as error:
        raise ImportError("graphs of NIR need its library: pip install nir") from error
    return nir


def _graph(nir: Any, network: Network, path: str) -> Any:
    nodes = {name: nir.Input(np.array(size)) for name, size in network.inputs.items()}
    for name, module in network.parts.items():
        nodes[name] = _node(nir, module, f"{path}{name}")
    for name, size in network.outputs.items():
        nodes[name] = nir.Output(np.array(size))
    return nir.NIRGraph(nodes, list(network.edges), dict(network.metadata))


def _node(nir: Any, module: Any, place: str) -> Any:
    if isinstance(module, Network):
        return _graph(nir, module, f"{place}.")
    kind = getattr(nir, type(module).__name__, None)
    if isinstance(module, neurons.Neuron):
        assert kind is not None
        return kind(**{field: np.array(getattr(module, field)) for field in module.fields})
    for of, write in WRITERS:
        if type(module) is of:
            return write(nir, module, place)
    known = ", ".join(of.__name__ for of, _ in WRITERS)
    raise NotImplementedError(
        f"the module {place!r} is a {type(module).__name__}, for which NIR has no node; it has "
        f"those for {known}, and for the neurons of brainir.nir"
    )


def _numbers(value: Any) -> np.ndarray:
    """Return numbers in the units of the SI without prefixes."""
    if not isinstance(value, u.Quantity):
        return np.array(value)
    numbers = np.asarray(value.mantissa)
    return (numbers.astype(np.float64) * value.unit.magnitude).astype(numbers.dtype)


def _weights(module: Any, place: str) -> tuple[np.ndarray, np.ndarray | None]:
    parameters = module.weight.value
    if module.w_mask is not None:
        raise NotImplementedError(f"the weight of {place!r} has a mask, which NIR does not know")
    bias = parameters.get("bias")
    return _numbers(parameters["weight"]), None if bias is None else _numbers(bias)


def _linear(nir: Any, module: Any, place: str) -> Any:
    weight, bias = _weights(module, place)
    return nir.Linear(weight.T) if bias is None else nir.Affine(weight.T, bias)


def _convolution(nir: Any, module: Any, place: str) -> Any:
    weight, bias = _weights(module, place)
    one_axis = module.num_spatial_dims == 1
    if not module.channel_first or any(n > 1 for n in module.lhs_dilation):
        raise NotImplementedError(f"NIR's convolutions are channel_first; {place!r} is not")
    padding = module.padding
    if isinstance(padding, str):
        padding = padding.lower()
        if padding not in ("same", "valid"):
            raise NotImplementedError(f"NIR does not know the padding {padding!r} of {place!r}")
    elif any(low != high for low, high in padding):
        raise NotImplementedError(f"NIR pads both sides alike, {place!r} does not: {padding}")
    else:
        padding = tuple(low for low, _ in padding)
        padding = padding[0] if one_axis else padding

    def extent(value: tuple[int, ...]) -> Any:
        return value[0] if one_axis else value

    kind = nir.Conv1d if one_axis else nir.Conv2d
    return kind(
        input_shape=extent(module.in_size[1:]),
        weight=np.moveaxis(weight, (-1, -2), (0, 1)),
        stride=extent(module.stride),
        padding=padding,
        dilation=extent(module.rhs_dilation),
        groups=module.groups,
        bias=np.zeros(weight.shape[-1], weight.dtype) if bias is None else bias.reshape(-1),
    )


def _flatten(nir: Any, module: Any, place: str) -> Any:
    if module.in_size is None:
        raise ValueError(f"the shape of the input of {place!r} is not known: give it an in_size")
    return nir.Flatten(np.array(module.in_size), module.start_axis, module.end_axis)


def _leaky(nir: Any, module: Any, place: str) -> Any:
    if module.spk_reset != "hard":
        raise NotImplementedError(
            f"{place!r} has a soft reset, and NIR's neurons are reset to a value: give "
            "spk_reset='hard'"
        )
    fields = {
        "tau": "tau",
        "r": "R",
        "v_leak": "V_rest",
        "v_threshold": "V_th",
        "v_reset": "V_reset",
    }
    return nir.LIF(
        **{
            field: np.broadcast_to(_numbers(getattr(module, own)), module.varshape).copy()
            for field, own in fields.items()
        }
    )


def _pool(nir: Any, module: Any, place: str) -> Any:
    kind = getattr(nir, type(module).__name__)
    return kind(*(np.array(p) for p in (module.kernel_size, module.stride, module.padding)))


WRITERS: tuple[tuple[type, Any], ...] = (
    (nn.Linear, _linear),
    (nn.Conv1d, _convolution),
    (nn.Conv2d, _convolution),
    (nn.Flatten, _flatten),
    (nn.LIF, _leaky),
    (maps.Scale, lambda nir, module, _: nir.Scale(np.asarray(module.scale.value))),
    (maps.Threshold, lambda nir, module, _: nir.Threshold(module.threshold)),
    (maps.Delay, lambda nir, module, _: nir.Delay(module.delay)),
    (maps.SumPool2d, _pool),
    (maps.AvgPool2d, _pool),
)
"""How each kind of module becomes a node."""
