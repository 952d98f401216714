"""What is raised about files."""

from __future__ import annotations

from ..errors import BrainIRError


class ArtifactError(BrainIRError):
    """A function cannot be saved, or a file is not an artifact that can be loaded."""
