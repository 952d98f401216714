"""Machine code of modules of LLVM, for this processor."""

from __future__ import annotations

import ctypes
import functools
import threading
from typing import Any

from llvmlite import binding

_LOCK = threading.Lock()
_PROCESS = ctypes.CDLL(None)


@functools.cache
def target() -> Any:
    """Return this processor, as LLVM knows it."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features, opt=3, jit=True
    )


def optimised(text: str) -> Any:
    """Return a module after LLVM's passes."""
    machine = target()
    module = binding.parse_assembly(text)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    for function in module.functions:
        # What is not found when code is loaded would be a call of nothing.
        outside = function.is_declaration and not function.name.startswith("llvm.")
        if outside and not hasattr(_PROCESS, function.name):
            raise LookupError(f"no function is called {function.name!r}")
    return module


def object_code(text: str) -> bytes:
    """Return the object file of a module."""
    with _LOCK:
        return target().emit_object(optimised(text))


def load(code: bytes) -> Any:
    """Return an engine with the functions of an object file; they are there as long as it is."""
    with _LOCK:
        target()
        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _fresh_target())
        engine.add_object_file(binding.object_file.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return engine


def _fresh_target() -> Any:
    """Return this processor once more: an engine takes its own."""
    features = binding.get_host_cpu_features().flatten()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features, opt=3, jit=True
    )
