"""The file itself: a zip of uncompressed entries, with a seal over every byte of it.

The seal is a SHA-256 in the comment with which a zip ends, so that damage anywhere is noticed and
other programs can still open the file. Nothing is compressed, so no small file unfolds into a big
one.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from .errors import ArtifactError

SEAL_LENGTH = hashlib.sha256().digest_size * 2
"""The seal is written in hexadecimal digits."""

_DATE = (1980, 1, 1, 0, 0, 0)

_FAULTS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    LookupError,
    OverflowError,
    EOFError,
    OSError,
)
"""What `zipfile` raises about bytes that are not a zip."""


def write_container(path: str | os.PathLike[str], entries: Mapping[str, bytes]) -> None:
    """Write entries to a file, which appears whole or not at all.

    The same entries give the same bytes.
    """
    target = Path(path)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(pack(entries))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def read_container(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """Return the entries of a file that `write_container` wrote.

    Raises
    ------
    ArtifactError
        If it is anything else.
    OSError
        If it cannot be read.
    """
    return unpack(Path(path).read_bytes())


def pack(entries: Mapping[str, bytes]) -> bytes:
    """Return entries as the bytes of a sealed zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
        archive.comment = b"0" * SEAL_LENGTH
    body = buffer.getvalue()[:-SEAL_LENGTH]
    return body + seal_of(body)


def seal_of(body: bytes) -> bytes:
    """Return the seal that follows the body of a file."""
    return hashlib.sha256(body).hexdigest().encode()


def unpack(data: bytes) -> dict[str, bytes]:
    """Return the entries of a sealed zip.

    Raises
    ------
    ArtifactError
        If the bytes are anything else.
    """
    if not data.startswith(b"PK"):
        raise ArtifactError("this is not an artifact of brainir.save")
    body, seal = data[:-SEAL_LENGTH], data[-SEAL_LENGTH:]
    if seal != seal_of(body):
        raise ArtifactError("the file is damaged: its content does not match its seal")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check(infos, len(data))
            return {info.filename: archive.read(info) for info in infos}
    except _FAULTS as error:
        raise ArtifactError(f"the file cannot be read as a zip: {error}") from error


def _check(infos: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse what would unfold, before anything is read."""
    if len({info.filename for info in infos}) != len(infos):
        raise ArtifactError("two entries of the file have the same name")
    if any(
        info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size
        for info in infos
    ):
        raise ArtifactError("an entry of the file is compressed, as brainir.save does not do")
    if sum(info.file_size for info in infos) > size:
        raise ArtifactError("the entries of the file claim to be larger than the file")
