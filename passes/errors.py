"""What passes refuse, beyond graphs that are not well formed."""

from __future__ import annotations

from ..ir import GraphError, Loc


class LaneDependentWrite(GraphError):
    """A state without a lane axis was left with a value that differs between the lanes of a vmap.

    Attributes
    ----------
    state : str
        The name of the state.
    loc : Loc or None
        Where it was written.
    """

    def __init__(self, state: str, loc: Loc | None = None) -> None:
        self.state, self.loc = state, loc
        where = f" at {loc}" if loc else ""
        super().__init__(
            f"state @{state} is written{where} with a value that differs from lane to lane of a "
            "vmap, but it has room for one value only: declare it in out_states (and in in_states, "
            "if each lane starts from a value of its own), or create it inside the mapped function"
        )


class LaneDependentResult(GraphError):
    """A result was declared to be the same for all lanes of a vmap, and is not.

    Attributes
    ----------
    index : int
        Which result.
    loc : Loc or None
        Where the vmap stands.
    """

    def __init__(self, index: int, loc: Loc | None = None) -> None:
        self.index, self.loc = index, loc
        where = f" at {loc}" if loc else ""
        super().__init__(
            f"result {index} of the vmap{where} differs from lane to lane, but its out_axes is "
            "None: give it an axis, or return what does not depend on the mapped arguments"
        )
