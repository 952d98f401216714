"""Models from and to NIR: its equations, its graphs, and what it does not know."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

nir = pytest.importorskip("nir")

N = 5
from_nir, to_nir = brainir.nir.from_nir, brainir.nir.to_nir


def drawn(low, high, seed=0, shape=(N,)):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def a_node(kind):
    """Return a neuron of a kind, with parameters that differ between its elements."""
    parameters = {
        **{"tau": drawn(0.005, 0.02, 1), "tau_mem": drawn(0.005, 0.02, 2)},
        **{"tau_syn": drawn(0.002, 0.03, 3), "r": drawn(1.0, 3.0, 4)},
        **{"v_leak": drawn(-0.2, 0.2, 5), "v_threshold": drawn(0.3, 0.5, 6)},
        **{"v_reset": drawn(-0.3, 0.0, 7), "w_in": drawn(0.5, 2.0, 8)},
    }
    if kind in ("I", "IF"):  # without a time constant to divide by
        parameters["r"] *= 50
    fields = getattr(brainir.nir, kind).fields
    return getattr(nir, kind)(**{field: parameters[field] for field in fields})


def slopes(kind, p, v, current, x):
    """The right sides of the equations of NIR, as its paper has them."""
    if kind in ("I", "IF"):
        return p.r * x, 0 * v
    if kind in ("LI", "LIF"):
        return ((p.v_leak - v) + p.r * x) / p.tau, 0 * v
    return ((p.v_leak - v) + p.r * current) / p.tau_mem, (-current + p.w_in * x) / p.tau_syn


def by_euler(kind, node, inputs, dt, parts):
    """Solve the equations in many small parts of a step; look for spikes at the end of each."""
    v, current, outputs = np.zeros(N), np.zeros(N), []
    for x in inputs:
        for _ in range(parts):
            dv, di = slopes(kind, node, v, current, x)
            v, current = v + dt / parts * dv, current + dt / parts * di
        spikes = v > node.v_threshold if kind.endswith("IF") else None
        if spikes is None:
            outputs.append(v)
        else:
            outputs.append(spikes.astype(float))
            v = np.where(spikes, node.v_reset, v)
    return np.stack(outputs), v


def run(node, inputs, dt, batch=None):
    graph = nir.NIRGraph.from_list(node)
    net = brainir.nn.init_all_states(from_nir(graph, dt=dt), batch_size=batch)
    outputs = brainir.transform.jit(lambda xs: brainir.transform.for_loop(net, xs))(inputs)
    (cell,) = net.parts.values()
    return outputs, cell


@pytest.mark.parametrize("kind", ["I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"])
def test_neurons_solve_the_equations_of_nir(kind):
    node, dt = a_node(kind), 0.002
    inputs = drawn(-0.3, 1.0, 9, (40, N))
    outputs, cell = run(node, jnp.asarray(inputs), dt)
    errors = []
    for parts in (50, 200, 800):
        expected, v = by_euler(kind, node, inputs.astype(float), dt, parts)
        errors.append(np.abs(cell.v.value - v).max())
    if kind.endswith("IF"):
        np.testing.assert_array_equal(outputs, expected)
        assert 5 < expected.sum() < expected.size
    else:
        np.testing.assert_allclose(outputs, expected, atol=2e-4)
    assert errors[2] < 2e-4  # Euler comes nearer to us as its steps become smaller
    assert kind in ("I", "IF") or errors[2] < errors[1] < errors[0]


def test_time_constants_that_are_equal_are_no_special_case():
    one = np.ones(1, np.float32)
    node = nir.CubaLI(tau_syn=0.01 * one, tau_mem=0.01 * one, r=one, v_leak=0 * one)
    outputs, _ = run(node, jnp.ones((20, 1)), 0.001)
    t = 0.001 * np.arange(1, 21)
    np.testing.assert_allclose(outputs[:, 0], 1 - (1 + t / 0.01) * np.exp(-t / 0.01), atol=1e-6)


def test_the_time_step_is_that_of_the_environment_or_a_quantity():
    node, inputs = a_node("LI"), jnp.ones((10, N))
    expected, _ = run(node, inputs, 0.001)
    np.testing.assert_array_equal(run(node, inputs, 1.0 * u.ms)[0], expected)
    with brainir.environ.context(dt=1.0 * u.ms):
        np.testing.assert_array_equal(run(node, inputs, None)[0], expected)


def test_a_batch_is_a_row_of_single_runs():
    node, inputs = a_node("CubaLIF"), jnp.asarray(drawn(0, 2, 1, (30, 3, N)))
    together, _ = run(node, inputs, 0.002, batch=3)
    for i in range(3):
        np.testing.assert_array_equal(together[:, i], run(node, inputs[:, i], 0.002)[0])


# --- maps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 2])
def test_delays_are_those_of_each_element(batch):
    delay = np.array([[0.0, 0.001], [0.003, 0.0041]])
    rows = () if batch is None else (batch,)
    inputs = drawn(0, 1, 2, (12, *rows, 2, 2))
    net = from_nir(nir.NIRGraph.from_list(nir.Delay(delay)), dt=0.001)
    for _ in range(2):  # States can be made anew
        brainir.nn.init_all_states(net, batch_size=batch)
        outputs = brainir.transform.for_loop(net, jnp.asarray(inputs))
        for (i, j), steps in np.ndenumerate(np.array([[0, 1], [3, 4]])):
            expected = np.concatenate([0 * inputs[:steps], inputs[: 12 - steps]])[..., i, j]
            np.testing.assert_array_equal(outputs[..., i, j], expected)
    assert sum(1 for _ in brainir.graph.states(net)) == 2


def convolved(x, node):
    """Convolve by the definition, in loops."""
    weight, count = node.weight, node.weight.ndim - 2
    pad, stride, dilation = (
        np.broadcast_to(value, count) for value in (node.padding, node.stride, node.dilation)
    )
    x = np.pad(x, [(0, 0), *((p, p) for p in pad)])
    reach = dilation * (np.array(weight.shape[2:]) - 1) + 1
    shape = (np.array(x.shape[1:]) - reach) // stride + 1
    y = np.zeros((weight.shape[0], *shape))
    per_group, group_out = weight.shape[1], weight.shape[0] // node.groups
    for place in np.ndindex(*shape):
        window = tuple(
            slice(p * s, p * s + r, d)
            for p, s, r, d in zip(place, stride, reach, dilation, strict=True)
        )
        for out in range(weight.shape[0]):
            first = out // group_out * per_group
            seen = x[(slice(first, first + per_group), *window)]
            y[(out, *place)] = (seen * weight[out]).sum() + node.bias[out]
    return y


@pytest.mark.parametrize(
    "node",
    [
        nir.Conv1d(9, drawn(-1, 1, 1, (4, 2, 3)), 2, 1, 1, 1, drawn(0, 1, 2, (4,))),
        nir.Conv2d(
            (6, 7), drawn(-1, 1, 1, (3, 2, 3, 2)), (1, 2), (2, 0), 1, 1, drawn(0, 1, 2, (3,))
        ),
        nir.Conv2d((7, 7), drawn(-1, 1, 1, (2, 1, 3, 3)), 1, 1, (2, 1), 1, drawn(0, 1, 2, (2,))),
    ],
    ids=["one axis", "strided", "dilated"],
)
def test_convolutions_are_those_of_nir(node):
    x = drawn(-1, 1, 3, tuple(node.input_type["input"]))
    net = from_nir(nir.NIRGraph.from_list(node), dt=0.001)
    np.testing.assert_allclose(net(jnp.asarray(x)), convolved(x, node), atol=1e-5)
    assert net.out_size == tuple(node.output_type["output"])
    again = to_nir(net).nodes["conv1d" if x.ndim == 2 else "conv2d"]
    for field in ("weight", "bias", "stride", "padding", "dilation", "groups", "input_shape"):
        np.testing.assert_array_equal(getattr(again, field), getattr(node, field))


def test_pools_sum_and_average_with_zeros_around():
    x = drawn(-1, 1, 3, (2, 5, 6))
    for kind, divisor in ((nir.SumPool2d, 1), (nir.AvgPool2d, 6)):
        node = kind(np.array([2, 3]), np.array([2, 2]), np.array([1, 0]))
        nodes = {"a": nir.Input(np.array([2, 5, 6])), "b": node, "c": nir.Output(None)}
        graph = nir.NIRGraph(nodes, [("a", "b"), ("b", "c")])
        y = from_nir(graph, dt=0.001)(jnp.asarray(x))
        padded = np.pad(x, [(0, 0), (1, 1), (0, 0)])
        for i, j in np.ndindex(3, 2):
            window = padded[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 3]
            np.testing.assert_allclose(y[:, i, j], window.sum((1, 2)) / divisor, atol=1e-6)


# --- graphs ---------------------------------------------------------------------------------------


def a_graph():
    """A graph with a cycle, a sum, a graph inside, and a node of nearly every kind."""
    inner = nir.NIRGraph.from_list(
        nir.Affine(drawn(-1, 1, 1, (N, N)), drawn(-1, 1, 2)), nir.Scale(drawn(0.5, 1, 3))
    )
    nodes = {
        "input": nir.Input(np.array([2, 3])),
        "flat": nir.Flatten(np.array([2, 3]), 0, -1),
        "into": nir.Linear(drawn(0, 1, 4, (N, 6))),
        "cell": a_node("CubaLIF"),
        "late": nir.Delay(np.linspace(0, 0.004, N, dtype=np.float32)),
        "back": nir.Linear(drawn(-0.5, 0.5, 5, (N, N))),
        "inner": inner,
        "gate": nir.Threshold(drawn(0, 0.1, 6)),
        "out": a_node("LI"),
        "output": nir.Output(np.array([N])),
    }
    edges = [
        *[("input", "flat"), ("flat", "into"), ("into", "cell"), ("cell", "late")],
        *[("late", "back"), ("back", "cell"), ("cell", "inner"), ("inner", "gate")],
        *[("gate", "out"), ("cell", "out"), ("out", "output")],
    ]
    return nir.NIRGraph(nodes, edges, {"made": "here"})


def assert_same(one, other):
    assert set(one.nodes) == set(other.nodes)
    assert sorted(one.edges) == sorted(other.edges)
    for name, node in one.nodes.items():
        again = other.nodes[name]
        assert type(node) is type(again)
        if isinstance(node, nir.NIRGraph):
            assert_same(node, again)
            continue
        for field in vars(node).keys() - {"metadata", "input_type", "output_type"}:
            np.testing.assert_array_equal(getattr(node, field), getattr(again, field), field)
        for types in ("input_type", "output_type"):
            for key, shape in getattr(node, types).items():
                np.testing.assert_array_equal(shape, getattr(again, types)[key])


def test_a_graph_comes_back_also_through_a_file(tmp_path):
    graph = a_graph()
    net = from_nir(graph, dt=0.001)
    assert net.delayed == [("back", "cell")]
    again = to_nir(net)
    assert_same(graph, again)
    assert again.metadata == {"made": "here"}
    nir.write(tmp_path / "model.nir", again)
    read = nir.read(tmp_path / "model.nir")
    assert_same(graph, read)
    inputs = jnp.asarray(drawn(0, 2, 7, (50, 2, 3)))
    runs = [
        brainir.transform.for_loop(brainir.nn.init_all_states(from_nir(g, dt=0.001)), inputs)
        for g in (graph, read)
    ]
    np.testing.assert_array_equal(*runs)
    assert np.ptp(runs[0]) > 0.01


def test_a_cycle_passes_on_what_was_given_in_the_step_before():
    weight = drawn(-1, 1, 1, (N, N))
    nodes = {
        "input": nir.Input(np.array([N])),
        "cell": a_node("LIF"),
        "back": nir.Linear(weight),
        "output": nir.Output(np.array([N])),
    }
    edges = [("input", "cell"), ("cell", "back"), ("back", "cell"), ("cell", "output")]
    net = brainir.nn.init_all_states(from_nir(nir.NIRGraph(nodes, edges), dt=0.002))
    inputs = drawn(0, 1, 2, (40, N))
    alone = brainir.nn.init_all_states(brainir.nir.LIF(dt=0.002, **fields_of(nodes["cell"])))
    spikes, expected = np.zeros(N, np.float32), []
    for x in inputs:
        spikes = np.asarray(alone(jnp.asarray(x + weight @ spikes)))
        expected.append(spikes)
    outputs = brainir.transform.for_loop(net, jnp.asarray(inputs))
    np.testing.assert_array_equal(outputs, expected)
    assert outputs.sum() > 5
    brainir.nn.reset_all_states(net)
    np.testing.assert_array_equal(brainir.transform.for_loop(net, jnp.asarray(inputs)), outputs)


def fields_of(node):
    return {name: getattr(node, name) for name in brainir.nir.LIF.fields}


def test_several_inputs_and_outputs_are_arguments_and_a_dictionary():
    shape = np.array([2])
    nodes = {
        **{"a": nir.Input(shape), "b": nir.Input(shape), "s": nir.Scale(np.full(2, 3.0))},
        **{"x": nir.Output(shape), "y": nir.Output(shape)},
    }
    graph = nir.NIRGraph(nodes, [("a", "s"), ("b", "s"), ("s", "x"), ("a", "y")])
    results = from_nir(graph)(jnp.ones(2), 2 * jnp.ones(2))
    assert {name: value.tolist() for name, value in results.items()} == {
        "x": [9.0, 9.0],
        "y": [1.0, 1.0],
    }
    with pytest.raises(TypeError, match="inputs for a, b"):
        from_nir(graph)(jnp.ones(2))


def test_gradients_reach_the_weights_through_spikes():
    net = brainir.nn.init_all_states(from_nir(a_graph(), dt=0.001))
    weights = net.states(brainir.ParamState)
    inputs = jnp.asarray(drawn(0, 2, 7, (30, 2, 3)))

    def loss():
        return (brainir.transform.for_loop(net, inputs) ** 2).sum()

    slopes = brainir.transform.jit(brainir.transform.grad(loss, weights))()
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(slopes))


# --- models of our own ----------------------------------------------------------------------------


def test_a_net_with_units_becomes_numbers_of_the_si():
    weights = brainir.init.KaimingNormal(scale=20.0, unit=u.mA)
    net = brainir.nn.Sequential(
        brainir.nn.Linear(4, N, w_init=weights, b_init=None),
        brainir.nn.LIF(N, tau=10.0 * u.ms, spk_reset="hard"),
        brainir.nn.Linear(N, 2),
    )
    again = brainir.nn.init_all_states(from_nir(to_nir(net), dt=1.0 * u.ms))
    inputs = jnp.asarray((drawn(0, 1, 1, (60, 4)) > 0.5).astype(np.float32))
    with brainir.environ.context(dt=1.0 * u.ms):
        expected = brainir.transform.for_loop(brainir.nn.init_all_states(net), inputs)
    np.testing.assert_allclose(brainir.transform.for_loop(again, inputs), expected, atol=1e-5)
    assert np.ptp(expected) > 0.1


# --- what is not known ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (brainir.nn.LIF(3), "soft reset"),
        (brainir.nn.Sequential(brainir.nn.Linear(2, 3), jnp.tanh), "'1' is a .*no node"),
        (brainir.nn.Linear(2, 2, w_mask=jnp.ones((2, 2))), "mask"),
        (brainir.nn.Conv2d((4, 4, 1), 2, 3), "channel_first"),
    ],
)
def test_a_module_that_nir_does_not_know_is_told(module, told):
    with pytest.raises(NotImplementedError, match=told):
        to_nir(module)


def test_a_node_that_is_not_known_is_told():
    class Strange(nir.ir.node.NIRNode):
        def __init__(self):
            self.input_type, self.output_type = {"input": np.array([2])}, {"output": np.array([2])}

    graph = nir.NIRGraph.from_list(nir.NIRGraph.from_list(Strange()))
    with pytest.raises(
        NotImplementedError, match=r"'nirgraph\.strange' is a Strange; known are Af"
    ):
        from_nir(graph)
    with pytest.raises(TypeError, match=r"takes a nir\.NIRGraph"):
        from_nir(nir.Scale(np.ones(2)))


def test_a_network_that_does_not_hold_together_is_told():
    scale, one = brainir.nir.Scale([1.0]), {"a": (1,)}
    for edges, told in (
        ([("a", "s"), ("s", "x")], "names 'x'"),
        ([("a", "s"), ("a", "s"), ("s", "o")], "twice"),
        ([("a", "o")], "no edge leads to 's'"),
        ([("a", "s"), ("s", "s"), ("s", "o")], "shape of what 's' gives"),
    ):
        with pytest.raises(ValueError, match=told):
            brainir.nir.Network({"s": scale}, edges, one, {"o": (1,)})
