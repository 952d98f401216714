"""Random keys as what they are: two words each, of which a kernel makes numbers.

Inside of a kernel, each word of an array of keys is an array of its own, of the same shape. So what
moves keys about moves words, and what draws from a key is arithmetic of words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from ...ir import (
    Builder,
    Graph,
    Node,
    Operand,
    Replacements,
    Type,
    Value,
    copy_node,
    mapped,
    walk,
)

Pair = tuple[Operand, Operand]

FEW = 4
"""So many hashes of a key are single numbers, which need no memory."""


def without_keys(graph: Graph) -> Graph:
    """Return a graph that takes, gives and computes with words in place of random keys.

    Keys of shape S that it takes or gives are u32[*S, 2], as XLA has them.

    Examples
    --------
    >>> from brainir.backends.native.key_words import without_keys
    >>> from brainir.ir import parse
    >>> graph = parse('''graph @draw(%key: key<fry>[]) -> (u32[8]) {
    ...   %bits = random_bits %key {bit_width=32, shape=(8,)}
    ...   return %bits
    ... }''')
    >>> without_keys(graph).nodes[-1].op.name
    'xor'
    """
    values = (*graph.params, *(result for node in walk(graph) for result in node.results))
    return _Spelling().whole(graph) if any(value.type.is_key for value in values) else graph


def _words_of(type: Type) -> Type:
    return type.with_dtype("uint32")


class _Spelling:
    """Builds regions again with words; one map serves all depths."""

    def __init__(self) -> None:
        self._same: Replacements = {}
        self._words: dict[Operand, Pair] = {}

    def whole(self, graph: Graph) -> Graph:
        """Spell out a graph that takes and gives keys as arrays of words."""
        builder = Builder()
        params: list[Value] = []
        for param in graph.params:
            type = param.type
            outer = Value(Type("uint32", (*type.shape, 2)), param.hint) if type.is_key else param
            params.append(outer)
            if type.is_key:
                self._words[param] = _taken(builder, outer)
        self._nodes(builder, graph.nodes)
        results = [
            _joined(builder, self._words[o]) if o.type.is_key else mapped([o], self._same)[0]
            for o in graph.results
        ]
        return builder.graph(params, results, graph.name)

    def _nodes(self, builder: Builder, nodes: Sequence[Node]) -> None:
        for node in nodes:
            builder.loc = node.loc
            if node.regions:
                self._control(builder, node)
            elif any(o.type.is_key for o in (*node.operands, *node.results)):
                self._of_keys(builder, node)
            else:
                results = copy_node(builder, node, mapped(node.operands, self._same))
                self._same.update(zip(node.results, results, strict=True))

    def _spelled(self, operands: Sequence[Operand]) -> list[Operand]:
        """Return operands with the two words of each key."""
        spelled: list[Operand] = []
        for operand in operands:
            if operand.type.is_key:
                spelled += self._words[operand]
            else:
                spelled += mapped([operand], self._same)
        return spelled

    def _define(self, values: Sequence[Value], words: Sequence[Operand]) -> None:
        """Say what stands for values, of which keys have two words."""
        rest = iter(words)
        for value in values:
            if value.type.is_key:
                self._words[value] = next(rest), next(rest)
            else:
                self._same[value] = next(rest)

    def _control(self, builder: Builder, node: Node) -> None:
        assert node.op.wiring is not None
        attrs, count = dict(node.attrs), node.op.wiring(node).counted_by
        if count is not None:
            attrs[count] = len(self._spelled(node.operands[: attrs[count]]))
        operands, regions = self._spelled(node.operands), [*map(self._region, node.regions)]
        self._define(node.results, builder.emit(node.op, operands, attrs, regions))

    def _region(self, region: Graph) -> Graph:
        builder = Builder()
        params = [
            Value(_words_of(p.type) if p.type.is_key else p.type, p.hint)
            for p in region.params
            for _ in range(2 if p.type.is_key else 1)
        ]
        self._define(region.params, params)
        self._nodes(builder, region.nodes)
        return builder.graph(params, self._spelled(region.results), region.name)

    def _of_keys(self, builder: Builder, node: Node) -> None:
        if node.op.name in RANDOM:
            operands = [
                self._words[o] if o.type.is_key else mapped([o], self._same)[0]
                for o in node.operands
            ]
            made = RANDOM[node.op.name](builder, *operands, **node.attrs)
            self._define(node.results, made if isinstance(made, tuple) else (made,))
            return
        # All else moves elements about, whatever they are.
        columns = [
            builder.emit(
                node.op,
                [
                    self._words[o][i] if o.type.is_key else self._spelled([o])[0]
                    for o in node.operands
                ],
                node.attrs,
            )
            for i in range(2)
        ]
        self._define(node.results, [word for pair in zip(*columns, strict=True) for word in pair])


def _taken(builder: Builder, array: Operand) -> Pair:
    """Return the words that lie along the last axis of an array."""
    *outer, _ = array.type.shape
    first, second = (
        builder(
            "squeeze",
            builder(
                "slice",
                array,
                start=(*(0 for _ in outer), i),
                limit=(*outer, i + 1),
                strides=(1,) * array.type.rank,
            ),
            dimensions=(len(outer),),
        )
        for i in range(2)
    )
    return first, second


def _joined(builder: Builder, words: Pair) -> Value:
    """Lay words out along a new last axis."""
    rank = words[0].type.rank
    return builder("concatenate", *(_inside(builder, w, 1) for w in words), dimension=rank)


def _inside(builder: Builder, word: Operand, *shape: int) -> Operand:
    """Return words, the same along new last axes."""
    full = (*word.type.shape, *shape)
    return builder("broadcast_in_dim", word, shape=full, dims=tuple(range(word.type.rank)))


def _hashed(builder: Builder, key: Pair, shape: Sequence[int]) -> Pair:
    """Return two words for each key and each index of a shape: the key's hash of the flat index."""
    count = prod(shape)
    if count <= FEW:
        zero = builder.zeros(key[0].type)
        each = [
            builder.emit("threefry2x32", [*key, zero, builder.full(zero.type, i)])
            for i in range(count)
        ]
        columns = [[_inside(builder, pair[i], 1) for pair in each] for i in range(2)]
        rank = key[0].type.rank
        flat = [c[0] if count == 1 else builder("concatenate", *c, dimension=rank) for c in columns]
    else:
        numbers = builder("iota", dtype="uint32", shape=(count,), dimension=0)
        full = (*key[0].type.shape, count)
        dims = (len(full) - 1,)
        index = builder("broadcast_in_dim", numbers, shape=full, dims=dims)
        keys = [_inside(builder, word, count) for word in key]
        flat = builder.emit("threefry2x32", [*keys, builder.zeros(index.type), index])
    final = (*key[0].type.shape, *shape)
    first, second = (builder("reshape", words, shape=final) for words in flat)
    return first, second


def _split(builder: Builder, key: Pair, shape: tuple[int, ...]) -> Pair:
    return _hashed(builder, key, shape)


def _bits(builder: Builder, key: Pair, bit_width: int, shape: tuple[int, ...]) -> Operand:
    high, low = _hashed(builder, key, shape)
    dtype = f"uint{bit_width}"
    if bit_width == 64:
        wide = [builder("convert_element_type", word, new_dtype=dtype) for word in (high, low)]
        shift = builder.full(wide[0].type, 32)
        return builder("or", builder("shift_left", wide[0], shift), wide[1])
    return _converted(builder, builder("xor", high, low), dtype)


def _fold_in(builder: Builder, key: Pair, data: Operand) -> tuple[Value, ...]:
    return builder.emit("threefry2x32", [*key, builder.zeros(data.type), data])


def _seed(builder: Builder, seeds: Operand, impl: str) -> Pair:
    low = _converted(builder, seeds, "uint32")
    if seeds.type.itemsize < 8:
        return builder.zeros(low.type), low
    wide = _converted(builder, seeds, "uint64")
    high = builder("shift_right_logical", wide, builder.full(wide.type, 32))
    return _converted(builder, high, "uint32"), low


def _wrap(builder: Builder, words: Operand, impl: str) -> Pair:
    return _taken(builder, words)


def _clone(builder: Builder, key: Pair) -> Pair:
    return key


def _equal(builder: Builder, key: Pair, other: Pair) -> Operand:
    pairs = zip(key, other, strict=True)
    return builder("and", *(builder("eq", mine, theirs) for mine, theirs in pairs))


def _differ(builder: Builder, key: Pair, other: Pair) -> Operand:
    return builder("not", _equal(builder, key, other))


def _converted(builder: Builder, value: Operand, dtype: str) -> Operand:
    same = value.type.dtype == dtype
    return value if same else builder("convert_element_type", value, new_dtype=dtype)


RANDOM: Mapping[str, Callable[..., Any]] = {
    "random_seed": _seed,
    "random_wrap": _wrap,
    "random_unwrap": _joined,
    "random_clone": _clone,
    "random_split": _split,
    "random_bits": _bits,
    "random_fold_in": _fold_in,
    "eq": _equal,
    "ne": _differ,
}
"""What ops that ask for more of keys than where they are mean in words."""
