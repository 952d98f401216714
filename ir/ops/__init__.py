"""All ops, by family. Importing this package fills the registry."""

from . import arithmetic as arithmetic
from . import contraction as contraction
from . import conversion as conversion
from . import convolution as convolution
from . import elementwise as elementwise
from . import indexing as indexing
from . import joining as joining
from . import lanes as lanes
from . import random as random
from . import reduction as reduction
from . import region as region
from . import scatter as scatter
from . import seeded as seeded
from . import shape as shape
from . import sorting as sorting
from . import sparse as sparse
from . import state as state
from . import transformations as transformations
