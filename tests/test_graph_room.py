"""Models as data: taken apart, put together, changed by path, and passed through plain JAX."""

import collections

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import brainir
from brainir import graph, nn
from brainir.frontend import filter


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = brainir.ParamState(jnp.arange(3.0), tag="slow", name="weight")
        self.h = brainir.HiddenState(u.Quantity(jnp.ones(2), unit=u.mV))

    def update(self, x):
        self.h.value = self.h.value * 0.5 + x * u.mV
        return jnp.sum(self.w.value) * self.h.value


class Settings(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        for name, value in settings.items():
            setattr(self, name, value)


Pair = collections.namedtuple("Pair", "left right")


class Net(nn.Module):
    """Shared parts, cycles, containers, settings and hidden attributes."""

    graph_invisible_attrs = ("hidden",)

    def __init__(self):
        super().__init__()
        self.cell = Cell()
        self.again = self.cell
        self.list = [Cell(), {"k": brainir.State(1), "a": 2}]
        self.list.append(self.list)
        self.same_list = self.list
        self.me: dict = {"self": self}
        self.pair = Pair(brainir.State(2.0), self.list)
        self.table = jnp.arange(4)
        self.size = (3, (4, 5))
        self.function = jnp.tanh
        self.hidden = brainir.State(7.0)


def values(model):
    return graph.states(model).to_dict_values()


# --- apart and together ---------------------------------------------------------------------------


def test_a_merged_model_has_the_shape_of_the_first_and_states_of_its_own():
    net = Net()
    other = graph.treefy_merge(*graph.treefy_split(net))
    assert type(other) is Net
    assert other.again is other.cell
    assert other.me["self"] is other
    assert other.list[2] is other.list
    assert other.same_list is other.list
    assert type(other.pair) is Pair
    assert other.pair.right is other.list
    assert other.list is not net.list
    assert other.size is net.size
    assert other.table is net.table
    assert other.hidden is net.hidden
    assert list(other.list[1]) == ["k", "a"]
    assert other.name is None
    assert list(graph.states(other)) == list(graph.states(net))
    assert list(graph.nodes(other)) == list(graph.nodes(net))
    assert not set(map(id, graph.states(other).values())) & set(map(id, graph.states(net).values()))
    jax.tree.map(np.testing.assert_array_equal, values(other), values(net))
    assert other.cell.w.name == "weight"
    assert other.cell.w.tag == {"slow"}
    assert type(other.cell.h) is brainir.HiddenState


def test_a_change_of_a_clone_leaves_the_model_alone():
    net = Net()
    other = graph.clone(net)
    other.cell.w.value = jnp.zeros(3)
    other.cell.w.add_tag("fast")
    other.list.append(1)
    np.testing.assert_array_equal(net.cell.w.value, np.arange(3.0))
    assert net.cell.w.tag == {"slow"}
    assert len(net.list) == 3


def test_a_state_shared_by_two_modules_stays_shared():
    first, second = Cell(), Cell()
    second.w = first.w
    model = [first, second]
    definition, states = graph.treefy_split(model)
    assert len(states.to_flat()) == 3
    other = graph.treefy_merge(definition, states)
    assert other[0].w is other[1].w
    assert other[0].w is not first.w


def test_a_tuple_that_is_in_a_cycle_through_a_list_is_put_together():
    inner = []
    root = (inner, brainir.State(1.0))
    inner.append(root)
    other = graph.clone(root)
    assert other[0][0] is other
    assert other[1].value == 1.0


STATES = tuple(brainir.State(float(i)) for i in range(3))
MODELS = st.recursive(
    st.sampled_from([*STATES, 0, "text", None]),
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.lists(parts, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["a", 1, ("t",)]), parts)
        | st.tuples(parts, parts).map(lambda pair: Pair(*pair))
        | parts.map(lambda part: Settings(first=part, second=[part, part]))
    ),
    max_leaves=8,
)


def outline(thing, met):
    """Write down a model in plain Python: what is met again is told by its number."""
    if isinstance(thing, brainir.State | list | dict | nn.Module) and id(thing) in met:
        return met[id(thing)]
    if isinstance(thing, brainir.State | list | dict | nn.Module):
        met[id(thing)] = f"number {len(met)}"
    if isinstance(thing, brainir.State):
        return type(thing), thing.value
    if isinstance(thing, list | tuple):
        return type(thing), [outline(part, met) for part in thing]
    if isinstance(thing, dict | nn.Module):
        items = (thing if isinstance(thing, dict) else vars(thing)).items()
        return type(thing), [(key, outline(part, met)) for key, part in items]
    return thing


@given(MODELS.filter(lambda model: isinstance(model, list | tuple | dict | nn.Module)))
def test_a_clone_looks_like_the_model_and_holds_none_of_its_states(model):
    other = graph.clone(model)
    assert outline(other, {}) == outline(model, {})
    assert graph.graphdef(other) == graph.graphdef(model)
    theirs = set(map(id, graph.states(other).values()))
    assert not theirs & set(map(id, STATES))
    assert len(theirs) == len(graph.states(model))


def test_states_are_split_by_filter_and_none_may_be_left_over():
    net = Net()
    definition, weights, rest = graph.treefy_split(net, brainir.ParamState, ...)
    assert {path[-1] for path in weights.to_flat()} == {"w"}
    assert set(weights.to_flat()) | set(rest.to_flat()) == set(graph.states(net))
    other = graph.treefy_merge(definition, rest, weights)
    jax.tree.map(np.testing.assert_array_equal, values(other), values(net))
    with pytest.raises(ValueError, match=r"no filter chooses.*'h'"):
        graph.treefy_split(net, brainir.ParamState)
    with pytest.raises(ValueError, match="put it last"):
        graph.treefy_split(net, ..., brainir.ParamState)


def test_merging_takes_flat_and_nested_dictionaries_and_leaves_extra_entries_alone():
    net = Net()
    definition, states = graph.treefy_split(net)
    extra = brainir.State(1.0).to_state_ref()
    for mapping in (states.to_flat(), states | {"zz": extra}, states.to_pure_dict()):
        jax.tree.map(
            np.testing.assert_array_equal,
            values(graph.treefy_merge(definition, mapping)),
            values(net),
        )


def test_merging_says_what_is_missing():
    definition, weights, _ = graph.treefy_split(Cell(), brainir.ParamState, ...)
    with pytest.raises(ValueError, match=r"no State at \('h',\)"):
        graph.treefy_merge(definition, weights)
    with pytest.raises(ValueError, match=r"\('h',\) is of type .*, not a TreefyState"):
        graph.treefy_merge(definition, weights, {"h": jnp.ones(2)})


@pytest.mark.parametrize("thing", [3, brainir.State(1.0), None, "net"])
def test_what_is_no_model_is_refused(thing):
    with pytest.raises(ValueError, match="a model is a module"):
        graph.treefy_split(thing)


def test_states_themselves_can_be_given_instead_of_pytrees():
    cell = Cell()
    definition, states = graph.flatten(cell, treefy_state=False)
    assert isinstance(states, graph.NestedDict)
    assert states["w"] is cell.w
    other = graph.unflatten(definition, states)
    assert other is not cell
    assert other.w is cell.w


# --- descriptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 0.0}, {"a": -0.0}, False),
        ({"a": np.ones(2)}, {"a": np.ones(2)}, True),
        ({"a": np.ones(2)}, {"a": np.zeros(2)}, False),
        ({"a": 1.0 * u.mV}, {"a": 1.0 * u.mV}, True),
        ({"a": 1.0 * u.mV}, {"a": 1.0 * u.mA}, False),
        ({"a": (1, "x")}, {"a": (1, "x")}, True),
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [1, 2]}, {"a": (1, 2)}, False),
        ({"a": jnp.tanh}, {"a": jnp.tanh}, True),
        ({"a": jnp.tanh}, {"a": jnp.sin}, False),
        ({"a": brainir.State(1.0)}, {"a": brainir.State(2.0)}, True),
        ({"a": brainir.State(1.0)}, {"a": brainir.ParamState(1.0)}, False),
    ],
)
def test_descriptions_are_equal_where_nothing_but_values_of_states_differs(first, second, same):
    one, other = (graph.graphdef(Settings(**settings)) for settings in (first, second))
    assert (one == other) == same
    assert (hash(one) == hash(other)) or not same


def test_aliasing_counts_in_descriptions():
    cell = Cell()
    assert graph.graphdef([cell, cell]) != graph.graphdef([Cell(), Cell()])


def test_a_function_is_compiled_once_for_equal_descriptions():
    traces = []

    @jax.jit
    def run(definition, states, x):
        traces.append(1)
        model = graph.treefy_merge(definition, states)
        y = model(x)
        return y, graph.treefy_states(model)

    cell = Cell()
    y, states = run(*graph.treefy_split(cell), 2.0)
    run(*graph.treefy_split(Cell()), 3.0)
    assert len(traces) == 1
    expected = graph.clone(cell)(2.0)
    np.testing.assert_allclose(y.mantissa, expected.mantissa)
    assert y.unit == u.mV
    np.testing.assert_allclose(states["h"].value.mantissa, 2.5)
    np.testing.assert_array_equal(cell.h.value.mantissa, 1.0)


# --- in plain JAX and in ours ---------------------------------------------------------------------


def test_gradients_of_plain_jax_have_the_form_of_the_states():
    cell = Cell()
    definition, weights, rest = graph.treefy_split(cell, brainir.ParamState, ...)

    def loss(weights, rest):
        return jnp.sum(graph.treefy_merge(definition, weights, rest)(1.0).mantissa ** 2)

    slopes = jax.jit(jax.grad(loss))(weights, rest)
    assert slopes["w"].type is brainir.ParamState
    expected = jax.grad(lambda w: jnp.sum((jnp.sum(w) * jnp.full(2, 1.5)) ** 2))(jnp.arange(3.0))
    np.testing.assert_allclose(slopes["w"].value, expected)


def run_inside(kind, function, *arguments):
    if kind == "jit":
        return brainir.transform.jit(function)(*arguments)
    if kind == "disable_jit":
        with jax.disable_jit():
            return function(*arguments)
    return function(*arguments)


@pytest.mark.parametrize("kind", ["plain", "jit", "disable_jit"])
def test_a_model_is_merged_inside_our_transformations(kind):
    cell = Cell()
    definition, states = graph.treefy_split(cell)

    def run(states, xs):
        model = graph.treefy_merge(definition, states)
        ys = brainir.transform.for_loop(model, xs)
        return ys, graph.treefy_states(model)

    ys, after = run_inside(kind, run, states, jnp.arange(4.0))
    expected = graph.clone(cell)
    for x, y in zip(range(4), ys, strict=True):
        np.testing.assert_allclose(y.mantissa, expected(float(x)).mantissa, rtol=1e-6)
    np.testing.assert_allclose(after["h"].value.mantissa, expected.h.value.mantissa)


def test_our_gradient_by_a_pytree_of_states():
    cell = Cell()
    definition, weights, rest = graph.treefy_split(cell, brainir.ParamState, ...)

    def loss(weights):
        return jnp.sum(graph.treefy_merge(definition, weights, rest)(1.0).mantissa)

    slopes = brainir.transform.jit(brainir.transform.grad(loss))(weights)
    np.testing.assert_allclose(slopes["w"].value, 3.0)


def test_lanes_of_models_run_side_by_side():
    cells = [Cell() for _ in range(3)]
    for i, cell in enumerate(cells):
        cell.w.value = cell.w.value * i
    definition = graph.graphdef(cells[0])
    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *map(graph.treefy_states, cells))
    ys = jax.vmap(lambda states: graph.treefy_merge(definition, states)(1.0).mantissa)(stacked)
    np.testing.assert_allclose(ys, [cell(1.0).mantissa for cell in cells])


def test_a_split_inside_a_trace_gives_traced_values():
    cell = Cell()

    @brainir.transform.jit
    def doubled():
        return jax.tree.map(lambda x: 2 * x, graph.treefy_states(cell))

    np.testing.assert_array_equal(doubled()["w"].value, 2 * np.arange(3.0))
    np.testing.assert_array_equal(cell.w.value, np.arange(3.0))


# --- changing models by path ----------------------------------------------------------------------


def test_states_are_updated_along_any_path():
    net = Net()
    changed = jax.tree.map(lambda x: x + 1, graph.treefy_states(net, brainir.ParamState))
    graph.update_states(net, changed)
    np.testing.assert_array_equal(net.cell.w.value, np.arange(3.0) + 1)
    graph.update_states(net, {"cell": {"w": net.cell.w.to_state_ref().replace(jnp.zeros(3))}})
    np.testing.assert_array_equal(net.again.w.value, 0.0)
    graph.update_states(net, {("cell", "w"): jnp.ones(3)}, {("cell", "h"): brainir.State(5.0)})
    np.testing.assert_array_equal(net.again.w.value, 1.0)
    assert net.cell.h.value == 5.0


@pytest.mark.parametrize(
    "path", [("nothing", "w"), ("size",), ("cell",), ("list", 7), (), ("cell", "h")]
)
def test_a_failed_update_changes_nothing(path):
    net = Net()
    good = net.cell.w.to_state_ref().replace(jnp.zeros(3))
    with pytest.raises(ValueError, match=r"path|State"):
        graph.update_states(net, {("cell", "w"): good, path: good})
    np.testing.assert_array_equal(net.cell.w.value, np.arange(3.0))


def test_popped_states_are_gone_everywhere_and_can_be_put_back():
    net = Net()
    weights = net.cell.w
    net.me["w"] = weights
    before = values(net)
    popped = graph.pop_states(net, brainir.ParamState)
    assert not graph.states(net, brainir.ParamState)
    assert not hasattr(net.again, "w")
    assert list(net.me) == ["self"]
    graph.update_states(net, popped)
    assert set(values(net)) == set(before)
    assert net.cell.w is not weights
    np.testing.assert_array_equal(net.cell.w.value, np.arange(3.0))


def test_popping_takes_nothing_if_a_list_holds_one_of_the_states():
    model = {"a": brainir.State(1.0), "b": [brainir.State(2.0)]}
    with pytest.raises(ValueError, match="list"):
        graph.pop_states(model, ...)
    assert len(graph.states(model)) == 2
    with pytest.raises(ValueError, match="needs a filter"):
        graph.pop_states(model)


def test_a_compiled_function_notices_popped_states():
    cell = Cell()

    @brainir.transform.jit
    def run():
        return cell.w.value * 2

    run()
    popped = graph.pop_states(cell, brainir.ParamState)
    graph.update_states(cell, jax.tree.map(lambda x: x + 1, popped))
    np.testing.assert_array_equal(run(), 2 * (np.arange(3.0) + 1))


# --- several models, models in pytrees, other classes ---------------------------------------------


def test_models_in_pytrees_become_pytrees_and_models_again():
    cell = Cell()
    tree, states = graph.graph_to_tree({"both": (cell, [cell]), "x": jnp.ones(2)})
    assert {id(state) for state in states.values()} == {id(cell.w), id(cell.h)}
    assert len(jax.tree.leaves(tree)) == 3
    back = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2, tree))(tree)
    made = graph.tree_to_graph(back)
    assert made["both"][0] is made["both"][1][0]
    np.testing.assert_array_equal(made["both"][0].w.value, 2 * np.arange(3.0))


def test_a_split_model_is_one_pytree():
    cell = Cell()
    whole = graph.NodeStates.from_split(*graph.treefy_split(cell))
    doubled = jax.jit(lambda model: jax.tree.map(lambda x: x * 2, model))(whole)
    assert doubled.graphdef == whole.graphdef
    made = graph.treefy_merge(doubled.graphdef, doubled.state)
    np.testing.assert_array_equal(made.w.value, 2 * np.arange(3.0))
    apart = graph.NodeStates.from_split(*graph.treefy_split(cell, brainir.ParamState, ...))
    assert len(apart.states) == 2
    again = graph.treefy_merge(apart.graphdef, *apart.states)
    np.testing.assert_array_equal(again.w.value, cell.w.value)
    with pytest.raises(ValueError, match="2 dictionaries of States, not one"):
        _ = apart.state


def test_parts_of_a_split_context_need_a_merge_context():
    cell = Cell()
    with graph.split_context() as (context, numbers):
        context.treefy_split(cell)
        second = context.treefy_split([cell])
    assert cell in numbers
    with pytest.raises(ValueError, match="merge_context"):
        graph.treefy_merge(*second)


class Foreign:
    """A class that is no module, with slots."""

    __slots__ = ("inside",)


def test_a_registered_class_counts_as_a_module():
    def pop(thing, key):
        part = getattr(thing, key)
        delattr(thing, key)
        return part

    graph.register_graph_node_type(
        Foreign, lambda f: ([("inside", f.inside)], None), setattr, pop, lambda _: Foreign()
    )
    thing = Foreign()
    thing.inside = brainir.State(3.0)
    holder = Settings(thing=thing)
    assert list(graph.states(holder)) == [("thing", "inside")]
    assert list(graph.nodes(holder)) == [("thing",), ()]
    assert not graph.states(holder, allowed_hierarchy=(0, 0))
    other = graph.clone(holder)
    assert isinstance(other.thing, Foreign)
    assert other.thing is not thing
    assert other.thing.inside.value == 3.0
    assert holder.states().keys() == {("thing", "inside")}


def test_leaves_are_states_and_settings():
    cell = Cell()
    model = Settings(cell=cell, size=(3, 4), again=cell)
    assert dict(graph.iter_leaf(model)) == {
        ("again", "h"): cell.h,
        ("again", "w"): cell.w,
        ("size", 0): 3,
        ("size", 1): 4,
    }
    assert [path for path, _ in graph.iter_node(model)] == [("again",), ()]


# --- dictionaries by path -------------------------------------------------------------------------


def test_flat_and_nested_dictionaries_are_two_forms_of_one_thing():
    flat = graph.FlattedDict({("a", "b"): 1, ("a", 0): 2, ("c",): 3})
    nest = flat.to_nest()
    assert nest == {"a": {"b": 1, 0: 2}, "c": 3}
    assert isinstance(nest, graph.NestedDict)
    assert nest.to_flat() == flat
    assert list(nest.to_flat()) == list(flat)
    assert graph.NestedDict.from_flat(flat) == nest
    assert type(nest.to_pure_dict()["a"]) is dict
    for form in (flat, nest):
        odd = form.filter(lambda path, value: value % 2)
        assert type(odd) is type(form)
        assert odd.to_pure_dict() == {"a": {"b": 1}, "c": 3}
        assert (form - odd).to_pure_dict() == {"a": {0: 2}}
        assert (form - odd) | odd == form
        assert {("z",): 4} | form == type(form).merge(form, {"z": 4})
        one, two, three = form.split(lambda p, v: v == 1, lambda p, v: v == 2, ...)
        assert type(form).merge(one, two, three) == form
        with pytest.raises(ValueError, match="no filter chooses"):
            form.split(lambda p, v: v == 1)


@pytest.mark.parametrize("paths", [[("a",), ("a", "b")], [("a", "b"), ("a",)], [()]])
def test_paths_that_have_no_nested_form_are_refused(paths):
    with pytest.raises(ValueError, match="path"):
        graph.FlattedDict((path, 1) for path in paths).to_nest()


def test_nested_dictionaries_are_pytrees_whatever_their_keys_and_order():
    one = graph.NestedDict({"b": {1: 1.0, "x": 2.0}, "a": 3.0})
    other = graph.NestedDict({"a": 4.0, "b": {"x": 5.0, 1: 6.0}})
    assert jax.tree.structure(one) == jax.tree.structure(other)
    total = jax.tree.map(lambda x, y: x + y, one, other)
    assert total == {"a": 7.0, "b": {1: 7.0, "x": 7.0}}
    paths, _ = jax.tree_util.tree_flatten_with_path(one)
    assert [jax.tree_util.keystr(path) for path, _ in paths] == ["['a']", "['b'][1]", "['b']['x']"]


def test_values_are_read_and_assigned_by_path_in_both_forms():
    cell = Cell()
    states = cell.states()
    for form in (states, states.to_nest()):
        form.assign_dict_values({("w",): jnp.zeros(3)})
        np.testing.assert_array_equal(cell.w.value, 0.0)
        with pytest.raises(KeyError, match="no state at"):
            form.assign_dict_values({("w",): jnp.ones(3), ("q",): 1.0})
        np.testing.assert_array_equal(form.to_dict_values()["w",], 0.0)
    plain = graph.NestedDict({"a": {"b": 1}})
    plain.assign_dict_values({"a": {"b": 2}})
    assert plain == {"a": {"b": 2}}


def test_filters_by_class_and_tag_choose_pytrees_of_states_too():
    references = graph.treefy_states(Cell())
    assert set(references.filter(brainir.ParamState)) == {"w"}
    assert set(references.filter(brainir.ShortTermState)) == {"h"}
    assert set(references.filter(filter.WithTag("slow"))) == {"w"}


def test_a_reference_keeps_class_value_and_metadata():
    state = brainir.HiddenState(jnp.ones(2) * u.mV, name="V", tag={"a", "b"}, source="soma")
    reference = state.to_state_ref()
    leaves, structure = jax.tree.flatten(reference)
    assert len(leaves) == 1
    again = jax.tree.unflatten(structure, leaves)
    for one in (reference, again, reference.copy()):
        made = one.to_state()
        assert type(made) is brainir.HiddenState
        assert (made.name, made.tag, made.source) == ("V", {"a", "b"}, "soma")  # pyright: ignore
        assert made.value.unit == u.mV
    other: brainir.State = brainir.HiddenState(jnp.zeros(2), source="axon")
    other.update_from_ref(reference)  # pyright: ignore[reportArgumentType]
    assert (other.name, other.source) == ("V", "soma")  # pyright: ignore
    assert hash(structure) == hash(jax.tree.structure(again))
