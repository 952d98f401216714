"""Parameters that may be transformed, penalised or held fixed, and what trains them needs."""

from .bounds import (
    ClipT,
    ExpT,
    LogT,
    NegativeT,
    NegSoftplusT,
    PositiveT,
    ReluT,
    ScaledSigmoidT,
    SigmoidT,
    SoftplusT,
    SoftsignT,
    TanhT,
)
from .clipping import clip_grad_norm
from .counting import count_parameters
from .param import Const, Param
from .regularization import ElasticNetReg, L1Reg, L2Reg, Regularization
from .transforms import (
    AffineT,
    ChainT,
    IdentityT,
    MaskedT,
    OrderedT,
    PowerT,
    SimplexT,
    Transform,
    UnitVectorT,
)

__all__ = [
    "AffineT",
    "ChainT",
    "ClipT",
    "Const",
    "ElasticNetReg",
    "ExpT",
    "IdentityT",
    "L1Reg",
    "L2Reg",
    "LogT",
    "MaskedT",
    "NegSoftplusT",
    "NegativeT",
    "OrderedT",
    "Param",
    "PositiveT",
    "PowerT",
    "Regularization",
    "ReluT",
    "ScaledSigmoidT",
    "SigmoidT",
    "SimplexT",
    "SoftplusT",
    "SoftsignT",
    "TanhT",
    "Transform",
    "UnitVectorT",
    "clip_grad_norm",
    "count_parameters",
]
