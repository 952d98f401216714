"""Derivatives of functions that read and write States."""

from .gradient_transform import GradientTransform
from .gradients import fwd_grad, grad, vector_grad
from .jacobians import hessian, jacfwd, jacobian, jacrev
from .pullbacks import vjp
from .pushforwards import jvp

__all__ = [
    "GradientTransform",
    "fwd_grad",
    "grad",
    "hessian",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "vector_grad",
    "vjp",
]
