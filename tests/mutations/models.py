"""Models as data, modules, and delays."""

from __future__ import annotations

from .mutant import Mutant

DELAYS = ("tests/test_delay.py",)
GRAPH = ("tests/test_graph_room.py",)
KEPT = ("tests/test_training.py",)
NIR = ("tests/test_nir.py",)

MUTANTS = (
    Mutant(
        "a delay reads the value that is one step older",
        "frontend/nn/delays.py",
        "pointer + (slots - 1) - step",
        "pointer + (2 * slots - 2) - step",
        DELAYS,
    ),
    Mutant(
        "a step that is too large wraps around the ring",
        "frontend/nn/delays.py",
        "step = jnp.clip(step, 0, slots - 1).astype(pointer.dtype)",
        "step = step.astype(pointer.dtype)",
        DELAYS,
    ),
    Mutant(
        "a delay of 0.7 ms is 8 steps of 0.1 ms",
        "frontend/nn/ring_buffer.py",
        "np.ceil(steps - np.maximum(ROUNDING, 1e-6 * steps))",
        "np.ceil(steps)",
        DELAYS,
    ),
    Mutant(
        "elements with delays of their own stand before the batch",
        "frontend/nn/ring_buffer.py",
        "if batch and matched:",
        "if False:",
        DELAYS,
    ),
    Mutant(
        "the past of a State gets the batch axis twice",
        "frontend/nn/delays.py",
        "kind.shape[1 if in_front else 0 :]",
        "kind.shape",
        DELAYS,
    ),
    Mutant(
        "a State that two modules share becomes two",
        "frontend/graph/splitting.py",
        "        if value in self.numbers:\n",
        "        if not isinstance(value, State) and value in self.numbers:\n",
        GRAPH,
    ),
    Mutant(
        "settings that differ in sign or type count as equal",
        "frontend/graph/definition.py",
        "return isinstance(other, StaticEdge) and self.key == other.key",
        "return isinstance(other, StaticEdge) and bool(self.value == other.value)",
        GRAPH,
    ),
    Mutant(
        "popped States stay where a second module holds them",
        "frontend/graph/operations.py",
        "        if id(part) in chosen\n",
        "        if id(part) in chosen and not chosen.discard(id(part))\n",
        GRAPH,
    ),
    Mutant(
        "filters of a split may leave States over",
        "frontend/state/flatted_dict.py",
        "        if rest:\n",
        "        if False:\n",
        GRAPH,
    ),
    Mutant(
        "random keys that are read come to one device",
        "frontend/graph/arrays.py",
        "words = _in_place_of(jax.random.key_data(leaf), array)",
        "words = jnp.asarray(array)",
        ("tests/test_spread_states.py",),
    ),
    Mutant(
        "arrays of another unit fit a model",
        "frontend/graph/arrays.py",
        'return "" if leaf.unit.is_unitless else f" [{leaf.unit}]"',
        'return ""',
        KEPT,
    ),
    Mutant(
        "an array that no State has is passed over",
        "frontend/graph/arrays.py",
        "        if name not in wanted and name not in explained:\n",
        "        if False:\n",
        KEPT,
    ),
    Mutant(
        "a current that decays within a step counts as if it did not",
        "frontend/nir/neurons.py",
        "decay * (dt / mem) * exprel(dt / mem - dt / syn)",
        "decay * (dt / mem)",
        NIR,
    ),
    Mutant(
        "what closes a cycle is handed on in the same step",
        "frontend/nir/network.py",
        "        old = {name: state.value for name, state in self.last.items()}\n",
        "        old = given\n",
        NIR,
    ),
)
