"""What modules offer: parts by kind, descriptions, penalties, text, and calls on all of them."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import nn


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Param(2.0, reg=nn.L2Reg(0.5))
        self.tau = nn.Const(3.0)

    def init_state(self, start=0.0):
        self.x = brainir.ShortTermState(jnp.asarray(start))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.own = nn.Param(jnp.ones(3), t=nn.ExpT(0.0))
        self.layers = [Layer(), {"deep": Layer()}]
        self.again = self.layers[0]

    def update(self, x):
        return self.own.value() * x


# --- parts ----------------------------------------------------------------------------------------


def test_parameters_that_are_modules_are_found_each_once_with_their_names():
    model = Model()
    named = dict(model.named_param_modules())
    assert set(named) == {
        *("own", "again.gain", "again.tau", "layers.1.deep.gain", "layers.1.deep.tau"),
    }
    assert list(model.param_modules()) == list(named.values())
    assert [name for name, _ in model.named_param_modules(allowed_hierarchy=(1, 1))] == ["own"]
    assert list(model.own.param_modules()) == [model.own]


def test_penalties_are_summed_and_shared_ones_counted_once():
    model = Model()
    one = float(model.again.gain.reg_loss())
    assert one > 0
    assert float(model.reg_loss()) == pytest.approx(2 * one)
    assert nn.Linear(2, 3).reg_loss() == 0.0
    slope = brainir.transform.grad(model.reg_loss, model.again.gain.val)()
    value = float(model.again.gain.value())
    step = 1e-3
    model.again.gain.set_value(value + step)
    high = float(model.reg_loss())
    model.again.gain.set_value(value - step)
    np.testing.assert_allclose(slope, (high - float(model.reg_loss())) / (2 * step), rtol=1e-2)


def test_values_are_kept_in_a_block_and_forgotten_after_it_whatever_happens():
    model = Model()

    def kept():
        return [parameter.cache_stats["has_cached_value"] for parameter in model.param_modules()]

    with model.param_precompute():
        assert all(kept())
        np.testing.assert_allclose(model.own.value(), 1.0, rtol=1e-6)
    assert not any(kept())

    def failing():
        with model.param_precompute(allowed_hierarchy=(1, 1)):
            assert sum(kept()) == 1
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        failing()
    assert not any(kept())


def test_a_block_of_kept_values_compiles_and_differentiates():
    model = Model()

    def loss(x):
        with model.param_precompute():
            return jnp.sum(model(x))

    slope = brainir.transform.jit(brainir.transform.grad(loss, model.own.val))(2.0)
    np.testing.assert_allclose(slope, 2.0, rtol=1e-6)  # exp(log 1) * 2
    assert not any(p.cache_stats["has_cached_value"] for p in model.param_modules())


def test_state_trees_are_pytrees_of_the_states():
    model = Model()
    nn.init_all_states(model)
    weights, rest = model.state_trees(brainir.ParamState, ...)
    assert set(weights.to_flat()) == set(model.states(brainir.ParamState))
    assert set(rest.to_flat()) == set(model.states(brainir.ShortTermState))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(weights))


def test_initialising_returns_the_new_states():
    model = Model()
    caught = model.init_all_states(4.0, state_tag="fresh")
    assert [state.value for state in caught] == [4.0, 4.0]
    assert caught.states == list(model.states(brainir.ShortTermState).values())
    assert all(state.tag == {"fresh"} for state in caught)


# --- descriptions ---------------------------------------------------------------------------------


def test_a_description_makes_new_modules_with_the_missing_arguments():
    described = nn.Linear.desc(4, b_init=None)
    first, second = described(2), described.init(out_size=3)
    assert type(first) is nn.Linear
    assert (first.in_size, first.out_size, second.out_size) == ((4,), (2,), (3,))
    assert set(first.weight.value) == {"weight"}
    assert first.weight is not second.weight
    assert described(2, b_init=brainir.init.ZeroInit()).weight.value.keys() == {"weight", "bias"}
    assert described.identifier == (nn.Linear, (4,), {"b_init": None})
    assert repr(described) == "ParamDescriber(Linear(4, b_init=None))"


def test_a_sequence_gives_descriptions_their_sizes():
    net = nn.Sequential(
        nn.Linear((3, 4), (3, 5)),
        nn.ReLU(),
        lambda x: x.reshape(-1),
        nn.Linear.desc(out_size=6),
        nn.LIF.desc(),
    )
    assert net[3].in_size == (15,)
    assert net[4].in_size == (6,)
    assert net.out_size == (6,)
    assert nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear.desc(out_size=1))[
        2
    ].in_size == (3,)
    with pytest.raises(ValueError, match=r"Linear\(out_size=3\).* in_size"):
        nn.Sequential(jnp.tanh, nn.Linear.desc(out_size=3))


def test_a_sequence_grows_and_compiled_functions_notice():
    net = nn.Sequential(nn.Linear(2, 3))
    run = brainir.transform.jit(lambda x: net(x))
    assert run(jnp.ones(2)).shape == (3,)
    net.append(nn.Linear.desc(out_size=4))
    assert run(jnp.ones(2)).shape == (4,)
    net.extend(nn.Sequential(jnp.tanh, nn.Linear(4, 5)))
    net.insert(1, jnp.negative)
    net.insert(-1, jnp.abs)
    assert net[1] is jnp.negative
    assert net[4] is jnp.abs
    assert (len(net), net.in_size, net.out_size) == (6, (2,), (5,))
    np.testing.assert_array_equal(run(jnp.ones(2)), net(jnp.ones(2)))
    for wrong, error in ((3, TypeError), (nn.Linear, TypeError)):
        before = list(net.layers)
        with pytest.raises(error):
            net.append(wrong) if wrong == 3 else net.extend(wrong)  # pyright: ignore
        assert net.layers == before
    with pytest.raises(IndexError, match="at 9"):
        net.insert(9, jnp.tanh)


# --- text -----------------------------------------------------------------------------------------


class Spoken(nn.Module):
    def __repr__(self):
        return "a module\nof two lines"


class Longer(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = 1

    def __repr__(self):
        return f"<{super().__repr__()}>"


def test_the_text_of_a_user_is_used_in_that_of_the_parent():
    model = nn.Module()
    model.part = Spoken()  # pyright: ignore
    model.parts = [Spoken(), Longer()]  # pyright: ignore
    assert repr(model) == (
        "Module(\n"
        "  part=a module\n"
        "  of two lines,\n"
        "  parts=[\n"
        "    a module\n"
        "    of two lines,\n"
        "    <Longer(\n"
        "      x=1\n"
        "    )>\n"
        "  ]\n"
        ")"
    )
    assert repr(Longer()) == "<Longer(\n  x=1\n)>"


# --- calls on all modules -------------------------------------------------------------------------


class Plain(brainir.graph.Node):
    """A node of the graph that is no module, and has no methods of one."""

    def __init__(self):
        self.inside = Layer()


def test_nodes_that_are_no_modules_are_passed_over():
    model = nn.Module()
    model.plain = Plain()  # pyright: ignore
    nn.init_all_states(model, 2.0)
    assert float(model.plain.inside.x.value) == 2.0  # pyright: ignore
    nn.call_all_fns(model, "reset_state")


def test_methods_are_called_by_level_over_the_whole_model():
    called = []

    class Part(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.label = name

        def init_state(self):
            called.append(self.label)

    class Late(Part):
        @nn.call_order(1)
        def init_state(self):
            called.append(self.label)

    class Last(Part):
        @nn.call_order(9)
        def init_state(self):
            called.append(self.label)

    nn.init_all_states([Last("c"), Late("b"), Part("a"), Late("b2")])
    assert called == ["a", "b", "b2", "c"]


def test_values_are_assigned_by_nested_paths_with_units():
    neuron = nn.init_all_states(nn.LIF(2))
    new = jnp.ones(2) * u.mV
    unexpected, missing = nn.assign_state_values([neuron], {(0, "V"): new, "0.W": 1.0})
    assert (unexpected, missing) == (["0.W"], [])
    assert neuron.V.value.unit == u.mV
    np.testing.assert_array_equal(neuron.V.value.mantissa, 1.0)


# --- updates around the update --------------------------------------------------------------------


class Echo(nn.Dynamics):
    def update(self, x=0):
        return x + 1


def test_modules_can_stand_before_and_after_an_update():
    echo, log = Echo(1), []

    class Watcher(nn.Module):
        def __init__(self):
            super().__init__()
            self.count = brainir.State(0)

        def update(self, *seen):
            self.count.value += 1
            log.append(seen)

    before, after = Watcher(), Watcher()
    echo.add_before_update("w", nn.receive_update_input(before))
    echo.add_before_update("plain", lambda: log.append("plain"))
    echo.add_after_update("w", after)
    assert echo(2) == 3
    assert log == [(2,), "plain", (3,)]
    assert set(echo.states()) == {
        ("_after_updates", "w", "count"),
        ("_before_updates", "w", "count"),
    }
    assert echo.get_after_update("w") is after
    assert dict(echo.after_updates or {}) == {"w": after}
    assert list(echo.before_updates or {}) == ["w", "plain"]
    assert echo.has_before_update("plain")
    assert not echo.has_after_update("plain")
    with pytest.raises(KeyError, match="use another key"):
        echo.add_after_update("w", after)
    with pytest.raises(KeyError, match="has no before-update 'x'; there are: 'w', 'plain'"):
        echo.get_before_update("x")
    run = brainir.transform.jit(lambda: brainir.transform.for_loop(echo, jnp.arange(3)))
    np.testing.assert_array_equal(run(), [1, 2, 3])
    assert int(after.count.value) == 4
