"""Graphs in other forms: drawings, the user's source beside them, jaxprs and back."""

from .drawing import Drawing, node_title, region_title, to_dot, to_networkx
from .jaxprs import (
    OPTIMIZATIONS,
    check_jaxpr,
    inlined,
    jaxpr_of_equations,
    optimizations_of,
    optimized,
)
from .kernel_code import kernel_code
from .source_text import annotated_text, source_line

__all__ = [
    "OPTIMIZATIONS",
    "Drawing",
    "annotated_text",
    "check_jaxpr",
    "inlined",
    "jaxpr_of_equations",
    "kernel_code",
    "node_title",
    "optimizations_of",
    "optimized",
    "region_title",
    "source_line",
    "to_dot",
    "to_networkx",
]
