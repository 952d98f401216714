"""Programs written for brainstate run on brainir from the moment this is imported.

brainstate's States, modules, optimisers and random numbers stay its own; its transformations, its
environment and its errors are ours from then on. :func:`leave` lets everything be as it was.

>>> import brainir.as_brainstate  # doctest: +SKIP
>>> import brainstate  # doctest: +SKIP
"""

from .frontend.ecosystem import TRIED, BrainstateMode, enter, leave

__all__ = ["TRIED", "BrainstateMode", "enter", "leave"]

enter()
