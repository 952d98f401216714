"""What is raised about files."""

from __future__ import annotations

from ..errors import BrainIRError


class ArtifactError(BrainIRError):
    """A function cannot be saved, or a file is not an artifact that can be loaded.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import brainir
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "step.brainir"
    >>> written = path.write_text("not an artifact")
    >>> brainir.load(path)
    Traceback (most recent call last):
        ...
    brainir.frontend.artifact.errors.ArtifactError: this is not an artifact of ...
    """
