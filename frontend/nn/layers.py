"""Modules one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax

from .. import environ
from ..mixin import ParamDescriber
from .blocks.elementwise import ElementWiseBlock
from .module import Module

__all__ = ["Sequential"]


class Sequential(Module):
    """Modules and functions one after the other.

    ``in_size`` is that of the first module, ``out_size`` that of the last, as far as they have one.

    Parameters
    ----------
    *layers : callable or ParamDescriber
        Each is called with what the one before returned, the first with the inputs. Of a
        description, such as ``Linear.desc(out_size=3)``, a module is made whose ``in_size`` is the
        size that the layers before it give.
    name : str, optional
        A name for people to read.

    Raises
    ------
    TypeError
        If a layer is not callable.
    ValueError
        If the size that a description needs is not known.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> Linear = brainir.nn.Linear
    >>> net = brainir.nn.Sequential(Linear(3, 2), jnp.tanh, Linear.desc(out_size=1))
    >>> net(jnp.ones(3)).shape, net.in_size, net.out_size, len(net)
    ((1,), (3,), (1,), 3)
    >>> net.append(Linear.desc(out_size=4))
    >>> net.out_size
    (4,)
    """

    layers: list[Callable[..., Any]]

    def __init__(self, *layers: Callable[..., Any], name: str | None = None):
        super().__init__(name)
        self._take(layers)

    def _take(self, layers: Iterable[Callable[..., Any]]) -> None:
        """Make these the layers."""
        made: list[Callable[..., Any]] = []
        for index, layer in enumerate(layers):
            if not callable(layer):
                raise TypeError(f"layer {index} of Sequential is not callable: {layer!r}")
            if isinstance(layer, ParamDescriber):
                layer = layer(in_size=_size_after(made, layer))
            made.append(layer)
        sizes = [(layer.in_size, layer.out_size) for layer in made if isinstance(layer, Module)]
        sizes = [pair for pair in sizes if pair != (None, None)]
        self.layers = made  # a new list, so that compiled functions are told
        if sizes and sizes[0][0] is not None:
            self.in_size = sizes[0][0]
        if sizes and sizes[-1][1] is not None:
            self.out_size = sizes[-1][1]

    def append(self, layer: Callable[..., Any]) -> None:
        """Put a layer at the end."""
        self._take([*self.layers, layer])

    def extend(self, layers: Iterable[Callable[..., Any]]) -> None:
        """Put layers, such as those of another `Sequential`, at the end."""
        self._take([*self.layers, *layers])

    def insert(self, index: int, layer: Callable[..., Any]) -> None:
        """Put a layer before that of an index, as lists do.

        Raises
        ------
        IndexError
            If there is no layer of that index, and it is not the place at the end.
        """
        count = len(self.layers)
        if not -count <= index <= count:
            raise IndexError(f"a layer at {index} cannot be put among {count} layers")
        layers = list(self.layers)
        layers.insert(index, layer)
        self._take(layers)

    def update(self, *inputs: Any, **kwargs: Any) -> Any:
        """Run the layers; all arguments go to the first."""
        first, *others = self.layers
        x = first(*inputs, **kwargs)
        for layer in others:
            x = layer(x)
        return x

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        return self.layers[index]


def _size_after(layers: list[Callable[..., Any]], wanted: ParamDescriber[Any]) -> tuple[int, ...]:
    """Return the shape of what layers give; that of functions is found by tracing them."""
    functions: list[Callable[..., Any]] = []
    size = None
    for layer in reversed(layers):
        size = layer.out_size if isinstance(layer, Module) else None
        if size is not None:
            break
        if not isinstance(layer, ElementWiseBlock):
            functions.append(layer)
    if size is None:
        raise ValueError(
            f"{wanted!r} needs to know its in_size, and no layer before it has an out_size; make "
            "the module itself"
        )
    x = jax.ShapeDtypeStruct(size, environ.dftype())
    for function in reversed(functions):
        x = jax.eval_shape(function, x)
    return tuple(x.shape)
