"""Helpers: frozen classes, dictionaries of every sort, and how objects print."""

from __future__ import annotations

import copy
import importlib
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import brainir

util: Any = brainir.util  # some tests pass what its types forbid
filter, struct, FrozenDict = brainir.util.filter, brainir.util.struct, brainir.util.FrozenDict

LEAVES = st.integers() | st.text(max_size=2)
KEYS = st.text("abc", min_size=1, max_size=2)
INNER = st.recursive(LEAVES, lambda s: st.dictionaries(KEYS, s, min_size=1, max_size=3))
NESTS = st.dictionaries(KEYS, INNER, max_size=3)


def test_the_rooms_are_imported_by_their_names() -> None:
    assert importlib.import_module("brainir.util.filter") is filter
    assert importlib.import_module("brainir.util.struct") is struct
    assert filter.OfType is brainir.util.OfType
    assert brainir.util.struct is struct
    assert brainir.util.freeze is struct.freeze
    assert filter.to_predicate(brainir.ParamState)((), brainir.ParamState(1.0))


# --- struct ---------------------------------------------------------------------------------------


@struct.dataclass
class Layer:
    weight: Any
    name: str = struct.field(pytree_node=False, default="dense")


class Node(struct.PyTreeNode):
    left: Any
    size: int = struct.field(pytree_node=False, default=1)


def test_frozen_classes_are_pytrees_whose_structure_is_compared() -> None:
    count = 0

    @brainir.transform.jit
    def double(layer: Layer) -> Layer:
        nonlocal count
        count += 1
        return layer.replace(weight=layer.weight * 2)  # pyright: ignore

    for i in range(3):
        np.testing.assert_array_equal(double(Layer(jnp.full(2, float(i)))).weight, [2.0 * i] * 2)
    assert count == 1
    assert double(Layer(jnp.ones(2), "other")).name == "other"
    assert count == 2
    with pytest.raises(AttributeError):
        Layer(1.0).weight = 2.0  # pyright: ignore
    with pytest.raises(ValueError, match="frozen"):
        struct.dataclass(frozen=False)


def test_subclasses_of_a_node_are_frozen_classes() -> None:
    class Wide(Node):
        right: Any = 0.0

    wide: Any = Wide(1.0, 3, 2.0)
    assert jax.tree.leaves(wide) == [1.0, 2.0]
    assert wide.replace(left=5.0).left == 5.0
    assert struct.is_dataclass(wide)
    assert struct.is_dataclass(Layer)
    assert not struct.is_dataclass(3)


def test_a_frozen_dictionary_is_a_value() -> None:
    plain = {"a": {"b": 1}, "c": 2}
    frozen = struct.freeze(plain)
    plain["a"]["b"] = 9
    assert frozen == {"a": {"b": 1}, "c": 2}
    assert hash(frozen) == hash(FrozenDict(c=2, a={"b": 1}))
    assert frozen == pickle.loads(pickle.dumps(frozen)) == copy.deepcopy(frozen)
    assert isinstance(frozen["a"], FrozenDict)
    thawed = struct.unfreeze(frozen)
    thawed["a"]["b"] = 5
    assert frozen["a"]["b"] == 1
    rest, value = struct.pop(frozen, "c")
    assert (rest, value) == ({"a": {"b": 1}}, 2)
    assert struct.copy({"a": 1}, {"b": 2}) == {"a": 1, "b": 2}
    assert struct.pop({"a": 1}, "a") == ({}, 1)
    with pytest.raises(TypeError):
        frozen["a"] = 3  # pyright: ignore
    mapped = jax.tree.map(lambda x: x + 1, frozen)
    assert mapped == {"a": {"b": 2}, "c": 3}
    assert "FrozenDict({" in struct.pretty_repr(frozen)


# --- dictionaries ---------------------------------------------------------------------------------


@given(NESTS)
def test_flattening_and_nesting_are_inverse(nest: dict[str, Any]) -> None:
    assert util.nest_mapping(util.flat_mapping(nest)) == nest
    assert util.unflatten_dict(util.flatten_dict(nest)) == nest
    assert util.nest_mapping(util.flat_mapping(nest, sep="/"), sep="/") == nest


def test_flattening_keeps_what_it_is_told_to() -> None:
    nest = {"a": {}, "b": {"c": {"d": 1}}}
    assert util.flat_mapping(nest) == {("b", "c", "d"): 1}
    assert util.flat_mapping(nest, keep_empty_nodes=True)["a",] == {}
    assert util.flat_mapping(nest, is_leaf=lambda path, _: path == ("b", "c")) == {
        ("b", "c"): {"d": 1}
    }
    assert util.flatten_dict({"b": 1}, parent_key="a", sep="/") == {"a/b": 1}
    with pytest.raises(ValueError, match="two of the paths"):
        util.flatten_dict({"a": {"b": 1}, "a.b": 2})
    for flat in ({("a",): 1, ("a", "b"): 2}, {("a", "b"): 2, ("a",): 1}):
        with pytest.raises(ValueError, match="both a value"):
            util.nest_mapping(flat)


def test_merging_changes_none_of_the_dictionaries() -> None:
    first, second = {"a": {"x": 1}, "b": {"y": 1}}, {"a": {"y": 2}, "b": 3}
    merged = util.merge_dicts(first, second)
    assert merged == {"a": {"x": 1, "y": 2}, "b": 3}
    merged["a"]["x"] = 7
    assert first == {"a": {"x": 1}, "b": {"y": 1}}
    assert util.merge_dicts(first, second, recursive=False) == second


def test_a_dictionary_with_attributes() -> None:
    config: Any = util.DotDict({"a": {"b": 1}}, items_=[{"c": 2}])
    config.a.d = {"e": 3}
    assert config["a"].d.e == 3
    assert config.items_[0].c == 2
    config.update(a={"b": 5})
    assert config.a == {"b": 5, "d": {"e": 3}}
    other = config.copy()
    other.a.b = 6
    assert config.a.b == 5
    for made in (copy.deepcopy(config), pickle.loads(pickle.dumps(config)), config.deepcopy()):
        assert made == config
        assert type(made.a) is util.DotDict
    assert type(config.to_dict()["a"]) is dict
    doubled = brainir.transform.jit(lambda d: jax.tree.map(lambda x: 2 * x, d))(config)
    assert float(doubled.a.b) == 10.0
    with pytest.raises(AttributeError, match="no entry 'z'"):
        _ = config.z
    with pytest.raises(AttributeError, match="method"):
        config.keys = 3
    del config.a
    assert "a" not in config


def test_dictionaries_get_attributes_at_every_depth() -> None:
    plain = {"a": {"b": {"c": 1}}, "d": [{"e": 2}]}
    config: Any = util.DotDict.from_dict(plain)
    assert (config.a.b.c, config.d[0].e) == (1, 2)
    config.a.b.c = 5
    assert plain["a"] == {"b": {"c": 1}}
    assert config.to_dict() == {**plain, "a": {"b": {"c": 5}}}


def test_a_managed_dictionary_compares_by_keys_and_by_values() -> None:
    value = [1]
    manager = util.DictManager(a=1, b=2.0, c=value, d=value)
    assert manager.split(int, float) == ({"a": 1}, {"b": 2.0}, {"c": [1], "d": [1]})
    assert manager.not_subset((int, float)) == {"c": [1], "d": [1]}
    assert manager.unique() == {"a": 1, "b": 2.0, "c": [1]}
    assert manager.difference_by_values([value]) == {"a": 1, "b": 2.0}
    assert manager.intersection_by_values([[1]], by="value") == {"c": [1], "d": [1]}
    assert manager.intersection_by_keys(["a"]) == {"a": 1}
    assert manager.difference_by_keys(iter(["a", "c", "e"])) == {"b": 2.0, "d": [1]}
    chosen = manager.filter_by_predicate(lambda key, held: key == "d" or held == 1)
    assert list(chosen.items()) == [("a", 1), ("d", value)]
    assert type(chosen) is type(manager.difference_by_keys([])) is util.DictManager
    assert manager.map_keys(str.upper).map_values(str)["A"] == "1"
    with pytest.raises(ValueError, match="two values"):
        manager.map_keys(lambda key: 0)
    with pytest.raises(ValueError, match="another value"):
        manager.add_unique_key("a", 5)
    assert not manager.add_unique_value("e", value)
    manager.unique_().pop_by_values([value])
    assert type(manager + {"z": 1}) is util.DictManager
    assert jax.tree.map(lambda x: x + 1, manager) == {"a": 2, "b": 3.0}


# --- the rest -------------------------------------------------------------------------------------


def test_totals_are_split() -> None:
    assert [util.split_total(7, f) for f in (0.0, 0.5, 1.0, 0, 7)] == [0, 3, 7, 0, 7]
    for args, error in (((7.0, 1), TypeError), ((7, "a"), TypeError), ((0, 0), ValueError)):
        with pytest.raises(error):
            util.split_total(*args)
    for fraction in (1.5, 8, -1):
        with pytest.raises(ValueError, match="the fraction is from"):
            util.split_total(7, fraction)


def test_names_are_not_given_twice() -> None:
    names = [util.get_unique_name("x", prefix) for prefix in ("", "", "p", "p")]
    assert len(set(names)) == 4


def test_a_cache_forgets_what_was_not_used_longest() -> None:
    cache = util.BoundedCache(2)
    cache.set("a", 1)
    cache.set("b", 2)
    assert cache.get("a") == 1
    cache.set("c", 3)
    assert cache.keys() == ["a", "c"]
    assert cache.get("b") is None
    cache.replace("a", 5)
    assert cache.pop("a") == 5
    assert cache.get_stats() == {"size": 1, "maxsize": 2, "hits": 1, "misses": 1, "hit_rate": 50.0}
    with pytest.raises(ValueError, match="already"):
        cache.set("c", 1)
    with pytest.raises(KeyError):
        cache.replace("z", 1)
    with pytest.raises(ValueError, match="at least 1"):
        util.BoundedCache(0)


def test_objects_print_their_attributes() -> None:
    class Thing(util.PrettyObject):
        def __init__(self) -> None:
            self.w, self._private = np.zeros((20, 3)), 1

    assert repr(Thing()) == "Thing(\n  w=float64[20,3]\n)"
    assert repr(util.PrettyList([Thing()])).startswith("[\n  Thing(")
    assert jax.tree.leaves([util.PrettyDict(a=1), util.PrettyList([2])]) == [1, 2]
    assert util.is_instance_eval(int, str)(3)
    assert not util.not_instance_eval(int, str)("x")
