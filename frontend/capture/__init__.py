"""Capture: how Python that touches States becomes a graph."""

from .automatic_checks import has_bad
from .avals import View, aval_of, view_of
from .cells import Cell, Handle, reject_states
from .checks import Checks, Site, check, plant
from .collectives import LaneAxis, all_lanes
from .containers import Held, held, is_container, merge
from .equations import open_jaxpr, state_ref
from .explain import is_users, user_loc
from .frames import Frame, Unnamed, current_frame, frames, trace_token, within
from .gathering import Sites, gather_checks
from .importer import Imported, import_jaxpr, import_traced, unit_name
from .naming import describe_tree, name_of, parameter_names
from .op_primitives import primitive_of
from .opaque import PREFIX, meanings, resolve_opaque
from .regions import Region, bind_here, bind_region, evaluate_by, leave, region_p
from .state_primitives import (
    create,
    new_primitive,
    read,
    read_leaves,
    settle,
    write,
    write_leaves,
)
from .tracing import Traced, new_frame, trace, trace_within
from .translations import TRANSLATE

__all__ = [
    "PREFIX",
    "TRANSLATE",
    "Cell",
    "Checks",
    "Frame",
    "Handle",
    "Held",
    "Imported",
    "LaneAxis",
    "Region",
    "Site",
    "Sites",
    "Traced",
    "Unnamed",
    "View",
    "all_lanes",
    "aval_of",
    "bind_here",
    "bind_region",
    "check",
    "create",
    "current_frame",
    "describe_tree",
    "evaluate_by",
    "frames",
    "gather_checks",
    "has_bad",
    "held",
    "import_jaxpr",
    "import_traced",
    "is_container",
    "is_users",
    "leave",
    "meanings",
    "merge",
    "name_of",
    "new_frame",
    "new_primitive",
    "open_jaxpr",
    "parameter_names",
    "plant",
    "primitive_of",
    "read",
    "read_leaves",
    "region_p",
    "reject_states",
    "resolve_opaque",
    "settle",
    "state_ref",
    "trace",
    "trace_token",
    "trace_within",
    "unit_name",
    "user_loc",
    "view_of",
    "within",
    "write",
    "write_leaves",
]
