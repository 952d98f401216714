"""The language: types, values, nodes, graphs, and one record for each op."""

from . import ops as ops
from .builder import (
    Builder,
    copy_node,
    fresh,
    inline,
    mapped,
    replay,
    replay_graph,
    replay_region,
    zero_of,
)
from .derivative import NOT_DIFFERENTIABLE, ZERO, Linear, NotDifferentiable, Partials, Rules
from .dtypes import dtype_name, key_words, keys_of_words, numpy_dtype, type_of_array
from .effects import Touched, is_pure, touched_by, touched_by_node
from .graph import Graph, Node, captures, walk
from .op import (
    PURE,
    Cost,
    Effect,
    GraphError,
    Op,
    Weight,
    all_ops,
    define,
    define_region,
    find_op,
    get_op,
    register,
    traffic,
)
from .ops import manual_axes as manual_axes
from .ops.indexing import default_fill
from .parser import ParseError, parse
from .printer import Printer, print_graph
from .structure import Fingerprint, equal, fingerprint, first_difference
from .types import Const, Literal, Loc, Operand, StateVar, Type, Value
from .verify import FORMS, Form, VerificationError, verify

__all__ = [
    "FORMS",
    "NOT_DIFFERENTIABLE",
    "PURE",
    "ZERO",
    "Builder",
    "Const",
    "Cost",
    "Effect",
    "Fingerprint",
    "Form",
    "Graph",
    "GraphError",
    "Linear",
    "Literal",
    "Loc",
    "Node",
    "NotDifferentiable",
    "Op",
    "Operand",
    "ParseError",
    "Partials",
    "Printer",
    "Rules",
    "StateVar",
    "Touched",
    "Type",
    "Value",
    "VerificationError",
    "Weight",
    "all_ops",
    "captures",
    "copy_node",
    "default_fill",
    "define",
    "define_region",
    "dtype_name",
    "equal",
    "find_op",
    "fingerprint",
    "first_difference",
    "fresh",
    "get_op",
    "inline",
    "is_pure",
    "key_words",
    "keys_of_words",
    "manual_axes",
    "mapped",
    "numpy_dtype",
    "parse",
    "print_graph",
    "register",
    "replay",
    "replay_graph",
    "replay_region",
    "touched_by",
    "touched_by_node",
    "traffic",
    "type_of_array",
    "verify",
    "walk",
    "zero_of",
]
