"""Every op that a kernel can hold computes what the reference does, on all samples at once."""

from collections.abc import Iterator

import numpy as np
import pytest
from native_kernels import run_native
from op_samples import all_samples
from structured_samples import structured_samples

from brainir.backends import reference
from brainir.frontend.testing.op_laws import compare, tolerance
from brainir.ir import Builder, Graph, Value, all_ops, type_of_array, walk
from brainir.passes.outline_kernels import cannot_hold
from brainir.testing import Sample

SAMPLES = (*all_samples(0), *structured_samples(0))


def graph_of(samples: list[Sample]) -> Graph:
    """Return a graph that runs all samples, each on parameters of its own."""
    builder = Builder()
    params: list[Value] = []
    results: list[Value] = []
    for sample in samples:
        mine = [Value(type) for type in sample.types]
        params += mine
        results += builder.emit(sample.op, mine, sample.attrs)
    return builder.graph(params, results, "samples")


def held() -> Iterator[Sample]:
    """Yield the samples of ops, and with numbers, that a kernel can hold."""
    for sample in SAMPLES:
        graph = graph_of([sample])
        if all(cannot_hold(node) is None for node in walk(graph)):
            yield sample


def test_kernels_hold_most_ops() -> None:
    names = {sample.op.name for sample in held()}
    assert len(names) > 90
    assert names >= {"add", "exp", "gather", "scatter-add", "dot_general", "dynamic_update_slice"}
    assert names <= {op.name for op in all_ops()}


@pytest.mark.parametrize("part", range(8))
def test_an_op_means_in_a_kernel_what_it_means(part: int) -> None:
    samples = [*held()][part::8]
    graph = graph_of(samples)
    operands = [array for sample in samples for array in sample.operands]
    results = run_native(graph, *operands, checked=True)
    place = 0
    for sample in samples:
        count = len(graph_of([sample]).results)
        expected = reference.run(graph_of([sample]), *sample.operands)
        try:
            rtol = max(tolerance(sample, sample.types), 1e-5)
            compare(results[place : place + count], expected, rtol, 1e-6)
        except AssertionError as error:
            raise AssertionError(f"{sample}: {error}") from None
        place += count
    assert place == len(results)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values_are_those_of_the_reference(dtype: str) -> None:
    values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -2.5, 1e30], dtype)
    left, right = (grid.ravel() for grid in np.meshgrid(values, values))
    for name in ("add", "sub", "mul", "div", "max", "min", "eq", "ne", "lt", "le", "gt", "ge"):
        builder, params = Builder(), [Value(type_of_array(left)) for _ in range(2)]
        graph = builder.graph(params, [builder(name, *params)])
        (result,), (expected,) = run_native(graph, left, right), reference.run(graph, left, right)
        np.testing.assert_array_equal(result, expected, err_msg=name)


@pytest.mark.parametrize("name", ["cumsum", "cumlogsumexp", "cummax", "argmax", "argmin"])
def test_what_goes_along_an_axis_does_so_in_float64(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 40))
    x[1, 5:9] = np.inf, -np.inf, np.nan, np.nan
    attrs = (
        {"axes": (1,), "index_dtype": "int32"} if "arg" in name else {"axis": 1, "reverse": True}
    )
    graph = graph_of([Sample(name, (x,), attrs)])
    compare(run_native(graph, x, checked=True), reference.run(graph, x), 1e-13, 0.0)
