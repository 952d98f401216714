"""Modules: the tree of states, replacement, calls, and collective calls."""

import functools

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import brainir
from brainir import nn
from brainir.frontend import filter


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = brainir.ParamState(jnp.ones(2))
        self.h = brainir.HiddenState(jnp.ones(3) * u.mV)


class Net(nn.Module):
    """Every way to hold a state: directly, shared, in containers, in parts of parts."""

    def __init__(self):
        super().__init__()
        self.z = brainir.ShortTermState(jnp.zeros(1), tag="slow")
        self.b = Cell()
        self.b.c = Cell()
        self.lst = [Cell(), {"k": Cell()}, 3.0]
        self.d = {"y": Cell(), "x": (brainir.LongTermState(1.0),)}
        self.again = self.b
        self.me = self


class Spy(brainir.State):
    """A state that counts what it is told."""

    def __init__(self):
        super().__init__(0.0)
        self.told = []

    def note_loss(self, module, attribute):
        super().note_loss(module, attribute)
        self.told.append("replaced")

    def note_return(self, module, attribute):
        super().note_return(module, attribute)
        self.told.append("attached")


# --- the tree -------------------------------------------------------------------------------------


def test_states_are_keyed_by_path_each_once():
    net = Net()
    found = net.states()
    assert list(found) == [
        ("again", "c", "h"),
        ("again", "c", "w"),
        ("again", "h"),
        ("again", "w"),
        ("d", "x", 0),
        ("d", "y", "h"),
        ("d", "y", "w"),
        ("lst", 0, "h"),
        ("lst", 0, "w"),
        ("lst", 1, "k", "h"),
        ("lst", 1, "k", "w"),
        ("z",),
    ]
    assert found["again", "h"] is net.b.h
    assert isinstance(found, nn.FlattedDict)


def test_a_level_counts_modules_only():
    net = Net()
    assert list(net.states(allowed_hierarchy=(0, 0))) == [("d", "x", 0), ("z",)]
    assert ("lst", 1, "k", "w") in net.states(allowed_hierarchy=(1, 1))
    assert list(net.states(allowed_hierarchy=(2, 9))) == [("again", "c", "h"), ("again", "c", "w")]
    assert list(net.nodes(allowed_hierarchy=(1, 1))) == [
        ("again",),
        ("d", "y"),
        ("lst", 0),
        ("lst", 1, "k"),
    ]


def test_filters_choose_and_split_states():
    net = Net()
    assert {path[-1] for path in net.states(brainir.ParamState)} == {"w"}
    assert list(net.states("slow")) == [("z",)]
    assert net.states(None) == {}
    weights, hidden = net.states(brainir.ParamState, filter.PathContains("lst"))
    assert len(weights) == 5
    assert list(hidden) == [("lst", 0, "h"), ("lst", 1, "k", "h")]
    weights, rest = net.states(brainir.ParamState, ...)
    assert len(weights) + len(rest) == len(net.states())


@pytest.mark.parametrize("early", [..., True])
def test_a_filter_that_leaves_nothing_must_be_last(early):
    with pytest.raises(ValueError, match="put it last"):
        Net().states(brainir.ParamState, early, brainir.State)
    assert len(Net().states(early)) == 12


def test_what_is_no_filter_is_refused():
    with pytest.raises(TypeError, match="is not a filter"):
        Net().states(3)


def test_modules_come_after_their_parts():
    net = Net()
    paths = list(net.nodes())
    assert paths == [("again", "c"), ("again",), ("d", "y"), ("lst", 0), ("lst", 1, "k"), ()]
    assert list(net.children()) == [net.b, net.d["y"], net.lst[0], net.lst[1]["k"]]
    assert [name for name, _ in net.named_children()] == ["again", "d.y", "lst.0", "lst.1.k"]
    assert list(net.modules(include_self=False)) == list(net.modules())[:-1]
    assert [name for name, _ in net.named_modules("net")][-1] == "net"
    assert list(net.nodes(Net)) == [()]


def test_parameters_are_named():
    net = Net()
    names = [name for name, _ in net.named_parameters("net")]
    assert names == ["net.again.c.w", "net.again.w", "net.d.y.w", "net.lst.0.w", "net.lst.1.k.w"]
    assert list(net.b.parameters(recurse=False)) == [net.b.w]
    assert len(list(net.parameters())) == 5


def test_invisible_attributes_stay_out_of_the_tree():
    class Shy(Cell):
        graph_invisible_attrs = ("h",)

    assert list(Shy().states()) == [("w",)]


def test_dictionaries_with_mixed_keys_are_ordered():
    module = nn.Module()
    module.parts = {"b": Spy(), 10: Spy(), 2: Spy(), "a": Spy(), (1,): Spy()}
    assert [path[1] for path in module.states()] == [2, 10, "a", "b", (1,)]


def _follow(root, path):
    return functools.reduce(
        lambda at, key: getattr(at, key) if isinstance(at, nn.Module) else at[key], path, root
    )


def _module_of(parts):
    module = nn.Module()
    for index, part in enumerate(parts):
        setattr(module, f"part{index}", part)
    return module


SPIES = [Spy() for _ in range(6)]
HOLDERS = st.recursive(
    st.one_of(st.sampled_from(SPIES), st.just(1.0)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["a", "b", 0, 1]), inner, max_size=3),
        st.lists(inner, max_size=3).map(_module_of),
    ),
    max_leaves=12,
)


@given(HOLDERS)
def test_every_state_is_found_once_where_its_path_leads(holder):
    module = _module_of([holder, [holder]])
    found = module.states()
    assert len({id(state) for state in found.values()}) == len(found)
    for path, item in (found | module.nodes()).items():
        assert _follow(module, path) is item
    for path, state in found.items():
        assert _follow(found.to_nest(), path) is state
    assert list(module.nodes())[-1] == ()


def test_flatted_dicts_are_pytrees_in_their_order():
    states = Net().states(brainir.HiddenState)
    shapes = jax.tree.map(lambda state: state.value.shape, states)
    assert isinstance(shapes, nn.FlattedDict)
    assert list(shapes) == list(states)
    assert set(shapes.values()) == {(3,)}
    leaves_with_paths = jax.tree_util.tree_leaves_with_path(states)
    assert [path[0].key for path, _ in leaves_with_paths] == list(states)


def test_values_of_a_flatted_dict_can_be_read_and_assigned():
    states = Cell().states(brainir.ParamState)
    values = states.to_dict_values()
    assert type(values) is dict
    states.assign_dict_values({("w",): values["w",] + 1.0})
    np.testing.assert_array_equal(states["w",].value, [2.0, 2.0])
    with pytest.raises(KeyError, match=r"no state at \('v',\); the paths are \('w',\)"):
        states.assign_dict_values({("w",): 0.0, ("v",): 0.0})
    np.testing.assert_array_equal(states["w",].value, [2.0, 2.0])


# --- replacement ----------------------------------------------------------------------------------


@given(HOLDERS, HOLDERS)
def test_replacing_an_attribute_tells_exactly_the_states_that_left(old, new):
    module = nn.Module()
    module.part = old
    before = {id(state) for state in module.states().values()}
    for spy in SPIES:
        spy.told.clear()
    module.part = new
    after = {id(state) for state in module.states().values()}
    for spy in SPIES:
        told_replaced = id(spy) in before - after
        assert ("replaced" in spy.told) == told_replaced
        assert any(loss.module() is module for loss in spy.losses) == told_replaced


def test_deleting_an_attribute_tells_its_states():
    module = nn.Module()
    module.part = [spy := Spy()]
    del module.part
    assert spy.told == ["attached", "replaced"]
    module.part = spy
    assert spy.losses == ()


def test_assigning_the_same_object_again_tells_nothing():
    module = nn.Module()
    module.part = [spy := Spy()]
    module.part += [Spy()]  # pyright: ignore[reportAttributeAccessIssue]
    assert spy.told == ["attached"]


def test_states_learn_where_they_were_first_attached():
    net = Net()
    net.named = named = brainir.State(0.0, name="own")
    assert "Net.z" in net.z.describe()
    assert "Cell.h" in net.again.h.describe()
    assert "Net.d['x'][0]" in net.d["x"][0].describe()
    assert "'own'" in named.describe()


# --- names, sizes, calls --------------------------------------------------------------------------


def test_a_name_is_a_string_and_read_only():
    assert nn.Module("net").name == "net"
    assert nn.Module().name is None
    with pytest.raises(AssertionError, match="name must be a string"):
        nn.Module(5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(AttributeError, match="name"):
        nn.Module().name = "other"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("size", "stored"), [(3, (3,)), (np.int64(3), (3,)), ([2, np.int32(3)], (2, 3)), ((0,), (0,))]
)
def test_sizes_become_tuples_of_integers(size, stored):
    module = nn.Dynamics(size)
    module.out_size = 7
    assert module.in_size == module.varshape == stored
    assert all(type(n) is int for n in module.varshape)
    assert module.out_size == (7,)


@pytest.mark.parametrize(
    "size", [2.5, "a", None, True, -1, (2, "a"), (2, 2.5), (2, -1), (True, 2), ((2, 3), 4), {2}]
)
def test_every_element_of_a_size_is_checked(size):
    with pytest.raises(ValueError, match="in_size of Dynamics must be"):
        nn.Dynamics(size)
    module = nn.Module()
    with pytest.raises(AssertionError, match=r"Module\.in_size must be"):
        module.in_size = size
    with pytest.raises(AssertionError, match=r"Module\.out_size must be"):
        module.out_size = size


def test_the_size_of_dynamics_is_not_empty():
    with pytest.raises(ValueError, match="non-empty"):
        nn.Dynamics(())


class Double(nn.Module):
    def update(self, x):
        return x + x


def test_a_state_that_init_state_has_not_made_yet_says_what_to_call():
    class Derived(nn.LIF):
        @property
        def doubled(self):
            return self.V.value * 2

    for read in (lambda model: model.get_spike(), lambda model: model.doubled):
        with pytest.raises(AttributeError, match=r"no attribute 'V'.*init_all_states"):
            read(Derived(2))
        read(nn.init_all_states(Derived(2)))
    with pytest.raises(AttributeError, match=r"no attribute 'wieght'$"):
        _ = nn.Linear(2, 3).wieght  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("x", [3, np.ones(2), jnp.ones(2)])
def test_arrows_and_calls_run_the_update(x):
    np.testing.assert_array_equal(x >> Double(), 2 * x)
    np.testing.assert_array_equal(Double()(x), 2 * x)


def test_an_update_must_be_defined():
    with pytest.raises(NotImplementedError, match=r"Dynamics does not define update\(\)"):
        nn.Dynamics(1)()


def test_a_subclass_may_leave_out_super_init():
    class Bare(nn.Module):
        def __init__(self):
            self.w = brainir.ParamState(jnp.ones(1))

    assert Bare().name is None
    assert list(Bare().states()) == [("w",)]


def test_updates_run_between_what_was_added():
    calls = []

    class Echo(nn.Dynamics):
        def update(self, x, scale=1.0):
            calls.append(("update", x, scale))
            return x * scale

    def record(name):
        return lambda *args, **kwargs: calls.append((name, *args, *kwargs.values()))

    echo = Echo(1)
    echo.add_before_update("plain", record("before"))
    echo.add_before_update("inputs", nn.receive_update_input(record("before with")))
    echo.add_after_update("plain", record("after"))
    echo.add_after_update("quiet", nn.not_receive_update_output(record("after without")))
    assert echo(2.0, scale=3.0) == 6.0
    assert calls == [
        ("before",),
        ("before with", 2.0, 3.0),
        ("update", 2.0, 3.0),
        ("after", 6.0),
        ("after without",),
    ]


def test_added_updates_are_kept_by_key():
    module = nn.Dynamics(1)
    assert module.before_updates is None
    assert not module.has_after_update("k")
    for name in ("before", "after"):
        add, get = getattr(module, f"add_{name}_update"), getattr(module, f"get_{name}_update")
        add("k", print)
        assert get("k") is print
        assert getattr(module, f"has_{name}_update")("k")
        assert getattr(module, f"{name}_updates") == {"k": print}
        with pytest.raises(KeyError, match=f"already has the {name}-update 'k'"):
            add("k", print)
        with pytest.raises(KeyError, match=f"no {name}-update 'q'; there are: 'k'"):
            get("q")


# --- collective calls -----------------------------------------------------------------------------


class Logged(nn.Module):
    def __init__(self, name, *parts):
        super().__init__(name)
        self.parts = parts

    def init_state(self, *args, **kwargs):
        LOG.append((self.name, args, kwargs))

    def reset_state(self):
        LOG.append(self.name)


class Late(Logged):
    @nn.call_order(2)
    def reset_state(self):
        LOG.append(self.name)


class Later(Logged):
    @nn.call_order(7)
    def reset_state(self):
        LOG.append(self.name)


LOG: list = []


@pytest.fixture
def log():
    LOG.clear()
    return LOG


def test_states_are_initialised_parts_first(log):
    shared = Logged("shared")
    net = Logged("net", Logged("a", shared), shared)
    assert nn.init_all_states(net, 3, flag=1) is net
    assert log == [(name, (3,), {"flag": 1}) for name in ("shared", "a", "net")]


def test_marked_methods_run_last_by_level(log):
    net = Later("net", Late("a"), Logged("b", Later("c")), Late("d"))
    assert nn.reset_all_states(net) is net
    assert log == ["b", "a", "d", "c", "net"]


def test_excluded_modules_are_left_alone_but_not_their_parts(log):
    nn.reset_all_states(Logged("net", Late("a", Logged("b"))), node_to_exclude=Late)
    assert log == ["b", "net"]


def test_lists_of_models_can_be_reset(log):
    nn.reset_all_states([Logged("a"), {"b": Logged("b")}])
    assert log == ["a", "b"]


@pytest.mark.parametrize("level", [-1, 10, 1.5, "1", True])
def test_call_levels_are_checked(level):
    with pytest.raises(ValueError, match="from 0 to 9"):
        nn.call_order(level)


def test_any_method_can_be_called_everywhere(log):
    net = Logged("net", Logged("a"))
    nn.call_all_fns(net, "init_state", "ab", {"k": 1})
    assert log == [("a", ("ab",), {"k": 1}), ("net", ("ab",), {"k": 1})]
    for word in ("pass", "none"):
        assert nn.call_all_fns(net, "absent", fn_if_not_exist=word) is net
    with pytest.warns(UserWarning, match="Logged at path .* has no method 'absent'"):
        nn.call_all_fns(net, "absent", fn_if_not_exist="warn")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("absent",), AttributeError, r"Cell at path \(\) has no method 'absent'"),
        ((3,), TypeError, "fn_name must be a string"),
        (("w",), TypeError, "'w' of Cell at path .* is not callable"),
        (("init_state", (), [1]), TypeError, "kwargs must be a mapping"),
        (("init_state", (), {}, None, "maybe"), ValueError, "not 'maybe'"),
    ],
)
def test_wrong_collective_calls_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        nn.call_all_fns(Cell(), *arguments)


def test_state_values_are_assigned_by_path():
    net = Net()
    values = {"b.w": 0.0, "again.w": jnp.zeros(2), ("z",): jnp.ones(1), "nowhere": 1.0}
    unexpected, missing = nn.assign_state_values(net, values, {("lst", 0, "w"): jnp.ones(5)})
    assert unexpected == ["b.w", "nowhere"]
    assert len(missing) == len(net.states()) - 3
    assert ("again", "h") in missing
    np.testing.assert_array_equal(net.b.w.value, [0.0, 0.0])
    assert net.lst[0].w.value.shape == (5,)
