"""Programs written for brainstate, as they are: its States adopted, its transformations ours.

brainstate itself stays what it is and is never needed by the rest of brainir: it is imported when
the mode is entered. Its modules, initialisers, random numbers and hooks are its own code, which our
captures see through; libraries that are built on it need not know.
"""

from __future__ import annotations

import functools
import gc
import importlib
import warnings
from collections.abc import Callable, Hashable, Iterator
from types import FunctionType
from typing import Any

import numpy as np

from .. import environ, errors, transform
from ..capture import frames
from ..state import StateTraceStack, adopt, epoch, tree
from ..typing import Missing
from .takeover import Takeover

TRIED = ("0.5.4",)
"""The versions of brainstate that this was tried with; others get a warning."""

KINDS = {
    "ShortTermState": "short",
    "LongTermState": "long",
    "HiddenState": "hidden",
    "ParamState": "param",
    "BatchState": "batch",
    "DelayState": "delay",
    "NonBatchState": "nonbatch",
}
"""What graphs call brainstate's States, by the name of their class; random ones are ``rng``."""

ERRORS = {
    "BrainStateError": errors.BrainIRError,
    "BatchAxisError": errors.BatchAxisError,
    "TraceContextError": errors.TraceContextError,
}


RECORDING = {
    "record_state_value_read": lambda state: state.note_touch(written=False),
    "record_state_value_write": lambda state: state.note_touch(written=True),
}
"""What libraries call that have values of their own in classes of States."""


class BrainstateMode:
    """The time in which programs written for brainstate run on our compiler.

    Raises
    ------
    ModuleNotFoundError
        If brainstate is not installed.
    """

    def __init__(self) -> None:
        theirs = self.library = importlib.import_module("brainstate")
        importlib.import_module("brainstate.nn")
        if theirs.__version__ not in TRIED:
            warnings.warn(
                f"brainstate {theirs.__version__} was not tried with brainir, which knows "
                f"{', '.join(TRIED)}",
                stacklevel=4,
            )
        self._internals = importlib.import_module("brainstate._state")
        self._settings, theirs_set = environ.all(), theirs.environ.all()
        self.takeover = Takeover()
        self._adopt()
        try:
            self._replace()
            self._watch_modules()
            environ.set(**_plain(theirs_set))
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Let everything be as it was."""
        tree.KINDS.pop(self.library.graph.Node, None)
        self.takeover.give_back()
        self.adoption.release()
        environ.reset()
        environ.set(**_plain(self._settings))

    def __enter__(self) -> BrainstateMode:
        return self

    def __exit__(self, *_: object) -> None:
        if _mode.current is self:
            leave()

    # --- States -----------------------------------------------------------------------------------

    def _adopt(self) -> None:
        library, internals = self.library, self._internals
        kinds = {getattr(internals, name): kind for name, kind in KINDS.items()}
        kinds[library.random.RandomState] = "rng"
        self.adoption = adopt(
            library.State, kinds=kinds, copies=("copy", "replace"), watched=self._watched
        )
        put = self.takeover.put
        # Who may store a traced value is for us to say: our captures are none of its traces.
        put(library.State, "_check_tracer_write_outside_trace", lambda state, value: None)
        put(
            internals.TreefyState,
            "to_state",
            self.adoption.telling(internals.TreefyState.to_state),
        )
        # Its keys are words of numpy until somebody looks, which a capture does without asking.
        generator = library.random.RandomState
        put(generator, "__init__", _then(generator.__init__, _make_key))
        for state in _existing(generator):
            _make_key(state)

    def _watched(self, state: Any) -> Hashable:
        """Return what else a read or write of a State calls: its hooks, and checks in force."""
        context = self._internals.TRACE_CONTEXT
        everywhere = self._internals.GlobalHookRegistry.instance()
        hooked = state.hooks.has_hooks() or everywhere.has_hooks()
        if not (hooked or context.tree_check[-1] or context.jax_tracer_check[-1]):
            return None
        if not hooked:
            return ()
        managers = (state.hooks, everywhere)
        return tuple(hook for manager in managers for hook in manager.get_hooks())

    # --- functions and classes --------------------------------------------------------------------

    def _replace(self) -> None:
        pairs: dict[Any, Any] = {}
        for name in self.library.transform.__all__:
            theirs, ours = getattr(self.library.transform, name), getattr(transform, name, None)
            if callable(theirs) and ours is not None:
                pairs[theirs] = self._stand_in(theirs, ours)
        for name in self.library.environ.__all__:
            theirs, ours = getattr(self.library.environ, name), getattr(environ, name, None)
            if isinstance(theirs, FunctionType) and ours is not None:
                pairs[theirs] = self.takeover.standing_in(theirs, _in_its_own(theirs, ours))
        pairs[self.library.environ.EnvironmentState] = environ.EnvironmentState
        for name, ours in ERRORS.items():
            pairs[getattr(self.library, name)] = ours
        pairs[self.library.StateTraceStack] = StateTraceStack
        for name, ours in RECORDING.items():
            pairs[getattr(self._internals, name)] = ours
        self.takeover.replace(pairs)

    def _stand_in(self, theirs: Any, ours: Any) -> Any:
        if isinstance(ours, type):
            return ours
        return self.takeover.standing_in(theirs, self._filling(ours))

    def _filling(self, ours: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of ours that knows an argument that is said to be missing."""
        missing = self.library.typing.Missing

        def fill(value: Any) -> Any:
            return Missing if isinstance(value, missing) else value

        @functools.wraps(ours)
        def function(*args: Any, **kwargs: Any) -> Any:
            return ours(*map(fill, args), **{name: fill(kwargs[name]) for name in kwargs})

        return function

    # --- modules and environment ------------------------------------------------------------------

    def _watch_modules(self) -> None:
        """Let its modules be ones that our tree looks into, and name the States in them."""
        node = self.library.graph.Node
        tree.KINDS[node] = tree.KINDS[tree.Node]
        for module in _existing(node):
            for name, part in list(vars(module).items()):
                _name_states(module, name, part)

        def set_attribute(module: Any, name: str, value: Any) -> None:
            object.__setattr__(module, name, value)
            _name_states(module, name, value)

        self.takeover.put(node, "__setattr__", set_attribute)
        manager = importlib.import_module("brainstate._state_hook_manager").HookManager
        for name in ("register_hook", "unregister_hook", "clear_hooks"):
            self.takeover.put(manager, name, _then(getattr(manager, name), _look_again))


def _in_its_own(theirs: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the environment; what was made before the mode is asked by theirs."""

    @functools.wraps(ours)
    def function(*args: Any, env: Any = None, **kwargs: Any) -> Any:
        if env is None:
            return ours(*args, **kwargs)
        known = isinstance(env, environ.EnvironmentState)
        return (ours if known else theirs)(*args, env=env, **kwargs)

    return function


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """Return settings without those that can only be made before JAX starts."""
    return {k: v for k, v in found.items() if k not in ("platform", "host_device_count")}


def _existing(kind: type) -> Iterator[Any]:
    """Yield the objects of a class that are alive."""
    for thing in gc.get_objects():
        if issubclass(type(thing), kind):
            yield thing


def _then(function: Callable[..., Any], after: Callable[[Any], None]) -> Callable[..., Any]:
    """Return a method that calls another one on its object in the end."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(self, *args, **kwargs)
        after(self)
        return result

    return method


def _make_key(state: Any) -> None:
    if frames.top is None and isinstance(state.peek(), np.ndarray):
        state.check_if_deleted()


def _look_again(_: Any) -> None:
    """Let compiled functions look whether hooks have changed."""
    epoch.count += 1


def _name_states(module: Any, name: str, value: Any) -> None:
    if tree.is_holder(value):
        for path, item, _ in tree.iterate(value):
            if not tree.is_node(item):
                hint = f"{type(module).__name__}.{name}"
                item.suggest_name(hint + "".join(f"[{key!r}]" for key in path))


class _Mode:
    current: BrainstateMode | None = None


_mode = _Mode()


def enter() -> BrainstateMode:
    """Run programs written for brainstate on our compiler from here on.

    Returns
    -------
    BrainstateMode
        Its ``leave()``, or the end of a ``with`` block, lets everything be as it was. Entering
        again while the mode lasts returns the same.

    Raises
    ------
    ModuleNotFoundError
        If brainstate is not installed.
    """
    if _mode.current is None:
        _mode.current = BrainstateMode()
    return _mode.current


def leave() -> None:
    """Let everything be as it was before `enter`; without effect if the mode was not entered."""
    if _mode.current is not None:
        current, _mode.current = _mode.current, None
        current.leave()
