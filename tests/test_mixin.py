"""Modes, types that are several at once, and descriptions of modules."""

from __future__ import annotations

from typing import Any

import pytest

import brainir

mixin = brainir.mixin
Batching, JointMode, JointTypes, Mode = (
    mixin.Batching,
    mixin.JointMode,
    mixin.JointTypes,
    mixin.Mode,
)
OneOfTypes, ParamDesc, Training = mixin.OneOfTypes, mixin.ParamDesc, mixin.Training
ParamDescriber: Any = mixin.ParamDescriber


class Both(Batching, Training): ...


def test_joint_types_ask_for_all_and_one_of_types_for_any() -> None:
    joint, one = JointTypes[Batching, Training], OneOfTypes[Batching, Training]
    assert [isinstance(x, joint) for x in (Both(), Batching(), 3)] == [True, False, False]
    assert [isinstance(x, one) for x in (Both(), Batching(), 3)] == [True, True, False]
    assert issubclass(Both, joint)
    assert not issubclass(Batching, joint)
    assert isinstance(None, OneOfTypes[int, None])
    assert joint == JointTypes(Training, Batching)
    assert len({joint, JointTypes(Training, Batching), one}) == 2
    assert JointTypes[Batching] is Batching
    assert JointTypes[joint, int] == JointTypes[Batching, Training, int]
    assert repr(joint) == "JointTypes[Batching, Training]"
    for wrong in ((), (3,)):
        with pytest.raises(TypeError):
            JointTypes(*wrong)


def test_modes_are_equal_by_what_they_say() -> None:
    assert Batching(3, 1) == Batching(3, 1) != Batching(3)
    assert len({Batching(3), Batching(3), Training()}) == 2
    assert Both().has(Training)
    assert not Both().is_a(Training)
    assert Training().is_a(Training)


def test_a_joint_mode_is_each_of_its_modes() -> None:
    mode = JointMode(Batching(3), Training())
    assert mode.has(Batching)
    assert mode.has(JointTypes[Batching, Training])
    assert mode.is_a(JointTypes[Training, Batching])
    assert not mode.is_a(Training)
    assert not JointMode(Batching()).has(Training)
    assert (mode.batch_size, mode.batch_axis) == (3, 0)
    with pytest.raises(AttributeError, match="'rate'"):
        _ = mode.rate
    wrong: Any = 3
    with pytest.raises(TypeError, match="modes"):
        JointMode(wrong)
    assert mode.has(Mode)


def test_a_described_module_is_made_later() -> None:
    described = brainir.nn.Linear.desc(out_size=2)
    layer = described(3)
    assert (layer.in_size, layer.out_size) == ((3,), (2,))
    assert described.init(4, out_size=5).out_size == (5,)
    assert isinstance(described, ParamDescriber)
    assert isinstance(described, ParamDescriber[brainir.nn.Module])
    assert not isinstance(described, ParamDescriber[brainir.nn.LIF])
    assert repr(described) == "ParamDescriber(Linear(out_size=2))"
    assert described.identifier == (brainir.nn.Linear, (), {"out_size": 2})
    wrong: Any = 3
    with pytest.raises(TypeError, match="class"):
        ParamDescriber(wrong)


def test_any_class_can_be_described() -> None:
    class Thing(ParamDesc):
        def __init__(self, a: int, b: int, c: int = 0) -> None:
            self.all = a, b, c

    assert Thing.desc(1, c=5)(2, c=6).all == (1, 2, 6)
