"""Artifacts: compiled functions in files, to be run by processes that never saw their source."""

from .errors import ArtifactError
from .loading import Loaded, load
from .saving import save

__all__ = ["ArtifactError", "Loaded", "load", "save"]
