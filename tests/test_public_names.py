"""The public names: each has an example, and the page on those of brainstate tells the truth."""

from __future__ import annotations

import importlib
import inspect
import types

import pytest
import reference_names

import brainir

ROOMS = {"brainir": brainir} | {
    f"brainir.{name}": part
    for name, part in vars(brainir).items()
    if isinstance(part, types.ModuleType) and name in brainir.__all__ and name != "frontend"
}
"""The modules that a user sees."""


def explained_by_us(thing: object) -> bool:
    """Whether a thing is ours to explain: a function or class of brainir."""
    ours = getattr(thing, "__module__", None) or ""
    return (inspect.isclass(thing) or inspect.isroutine(thing)) and ours.startswith("brainir")


def without_example(room: types.ModuleType) -> set[str]:
    """Return the public names of a module whose docstring shows no example."""
    things = {name: getattr(room, name) for name in room.__all__}
    return {
        name
        for name, thing in things.items()
        if explained_by_us(thing) and ">>> " not in (thing.__doc__ or "")
    }


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_explained_by_an_example(room):
    assert not without_example(ROOMS[room])


def test_a_name_without_an_example_is_noticed():
    room = types.ModuleType("room")

    def bare():
        """Do nothing."""

    bare.__module__ = "brainir.room"
    vars(room).update(bare=bare, __all__=["bare"])
    assert without_example(room) == {"bare"}


@pytest.mark.parametrize("room", ["random", "environ", "init"])
def test_what_can_fail_says_so_and_what_takes_arguments_explains_them(room):
    module = getattr(brainir, room)
    for name in module.__all__:
        thing = getattr(module, name)
        if room == "random" and inspect.ismethod(thing):
            taken = inspect.signature(thing).parameters
            doc = inspect.getdoc(thing) or ""
            if "key" in taken:
                assert "key : " in doc, name
                assert "Raises\n------" in doc, name
            if "size" in taken:
                assert "size : " in doc, name


def test_the_table_of_brainstates_names_tells_the_truth():
    page = reference_names.PAGE.read_text()
    assert reference_names.TABLE.search(page)
    assert page == reference_names.with_table(page), "run: python tests/reference_names.py --write"


def test_rooms_that_are_whole_stay_whole():
    for room in ("brainstate.random", "brainstate.environ", "braintools.init"):
        assert reference_names.missing(room, reference_names.rooms()[room]) == []


def test_members_of_the_generator_are_those_of_the_functions():
    functions = set(brainir.random.__all__) - {
        *("DEFAULT", "RandomState", "clone_rng", "default_rng", "get_key", "get_key_data"),
        *("seed_context", "split_keys"),
    }
    assert {name for name in functions if not hasattr(brainir.RandomState, name)} == set()


@pytest.mark.parametrize("room", reference_names.rooms())
def test_the_list_of_brainstates_names_is_that_of_the_installed_one(room):
    pytest.importorskip(room.partition(".")[0])
    module = importlib.import_module(room)
    public = sorted(name for name in module.__all__ if not name.startswith("_"))
    assert public == reference_names.rooms()[room]
