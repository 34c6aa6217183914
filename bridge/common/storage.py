"""Artefact files on a local disk or an object store (`s3://`, `gs://`): whole or not at all.

Every path in the product goes through here, so that a folder on a bucket works wherever a local
one does. A write becomes visible in one step: a rename on a disk, the commit of an upload on an
object store. A process killed in between leaves at most a stray temporary file.

What an object store refuses, or does not answer after several attempts, is a `StoreError`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bridge.common.errors import InputError, StoreError
from bridge.common.files import shown
from bridge.common.uris import STORES, canonical

# Paths are joined while options are read; Arrow is imported where a file is touched.
if TYPE_CHECKING:
    import pyarrow.fs as pafs


def is_uri(path: str | Path) -> bool:
    """True for `scheme://...`, false for a path on this machine's disks."""
    return "://" in str(path)


def is_store(path: str | Path) -> bool:
    """True for a place on an object store, where folders are but the beginnings of names."""
    return str(path).partition("://")[0] in STORES and is_uri(path)


def absolute(path: str | Path) -> str:
    """The path independent of the working directory (Ray workers have another one)."""
    return canonical(str(path)) if is_uri(path) else str(Path(path).expanduser().resolve())


def join(root: str | Path, *parts: str) -> str:
    """`root/part/part`, for disks and object stores alike."""
    return "/".join([canonical(str(root)).rstrip("/"), *parts])


def filesystem(path: str | Path) -> tuple[pafs.FileSystem, str]:
    """The Arrow filesystem of `path` and the path inside it.

    There is one for each bucket, with limits of time and further attempts (see `object_store`).
    Errors of what it is asked for are Arrow's.
    """
    import pyarrow.fs as pafs

    if not is_uri(path):
        return pafs.LocalFileSystem(), absolute(path)
    if is_store(path):
        from bridge.common.object_store import client_of

        return client_of(str(path))
    try:
        return pafs.FileSystem.from_uri(str(path))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be opened: {error}") from error


@contextmanager
def told(path: str | Path) -> Iterator[None]:
    """In the block, an object store's errors at a path are `StoreError`s."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        refuse_store_error(error, str(path))
        raise


def refuse_store_error(error: OSError, path: str = "") -> None:
    """StoreError where an error is one of an object store's; `path` where it is known."""
    # None has come about where this has not been imported.
    if "pyarrow.fs" in sys.modules:
        from bridge.common.object_store import store_error

        if (found := store_error(error, path)) is not None:
            raise found from error


def _info(path: str | Path) -> pafs.FileInfo:
    fs, inner = filesystem(path)
    with told(path):
        return fs.get_file_info(inner)


def exists(path: str | Path) -> bool:
    """Whether a file or folder is there; InputError where that cannot be asked."""
    try:
        if not is_uri(path):
            with suppress(FileNotFoundError, NotADirectoryError):
                os.stat(absolute(path))
                return True
            return False
        import pyarrow.fs as pafs

        return bool(_info(path).type != pafs.FileType.NotFound)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there."""
    if not is_uri(path):
        return os.path.isdir(absolute(path))
    import pyarrow.fs as pafs

    return bool(_info(path).type == pafs.FileType.Directory)


def file_size(path: str | Path) -> int | None:
    """Bytes of a file; None where there is none."""
    size: int | None = _info(path).size
    return size


def list_folders(path: str | Path) -> list[str]:
    """The folders in a folder, sorted; none where it does not exist."""
    return _listed(path, "Directory")


def list_files(path: str | Path) -> list[str]:
    """The files in a folder, sorted; none where it does not exist."""
    return _listed(path, "File")


def _listed(path: str | Path, kind: str) -> list[str]:
    import pyarrow.fs as pafs

    names = sorted(e.base_name for e in entries(path) if e.type == getattr(pafs.FileType, kind))
    return [join(path, name) for name in names]


def entries(path: str | Path, *, deep: bool = False) -> list[pafs.FileInfo]:
    """What is in a folder, with `deep` at any depth, in no order; none where it does not exist.

    An object store is asked once for every thousand objects.
    """
    import pyarrow.fs as pafs

    fs, inner = filesystem(path)
    with told(path):
        found: list[pafs.FileInfo] = fs.get_file_info(
            pafs.FileSelector(inner, allow_not_found=True, recursive=deep)
        )
    return found


def open_read(path: str | Path) -> AbstractContextManager[Any]:
    """A file for reading its bytes in order. FileNotFoundError where there is none."""
    if not is_uri(path):
        return open(absolute(path), "rb")
    fs, inner = filesystem(path)
    with told(path):
        return fs.open_input_stream(inner)


def read_bytes(path: str | Path) -> bytes:
    """The whole file. FileNotFoundError where there is none."""
    with told(path), open_read(path) as stream:
        return bytes(stream.read())


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    """Write the file so that a reader sees either the old content or all of the new."""
    if is_uri(path):
        fs, inner = filesystem(path)
        with told(path), fs.open_output_stream(inner) as stream:
            stream.write(data)
        return
    with replaced(path) as temporary, open(temporary, "wb") as file:
        file.write(data)


@contextmanager
def replaced(path: str | Path) -> Iterator[str]:
    """A temporary local file to write in the block; it takes the place of a file at its end.

    An error in the block leaves the old file.
    """
    if is_uri(path):
        with tempfile.TemporaryDirectory(prefix="bridge-upload-") as folder:
            written = os.path.join(folder, "file")
            yield written
            _upload(written, path)
        return
    inner = absolute(path)
    os.makedirs(os.path.dirname(inner), exist_ok=True)
    temporary = f"{inner}.tmp-{uuid4().hex[:8]}"
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, inner)
    except OSError as error:
        # A write that fails does not say where.
        if error.errno is not None and error.filename in (None, temporary):
            error.filename = inner
        raise
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _upload(file: str, path: str | Path) -> None:
    """Put a local file into its place; Python cannot interrupt that, which would leave half."""
    import pyarrow.fs as pafs

    fs, inner = filesystem(path)
    with told(path):
        pafs.copy_files(
            file,
            inner,
            source_filesystem=pafs.LocalFileSystem(),
            destination_filesystem=fs,
            chunk_size=2**24,
        )


def delete(path: str | Path) -> None:
    """Remove a file, if it is there."""
    fs, inner = filesystem(path)
    with suppress(FileNotFoundError), told(path):
        fs.delete_file(inner)


def delete_folder(path: str | Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    fs, inner = filesystem(path)
    with suppress(FileNotFoundError), told(path):
        fs.delete_dir(inner)


def read_json(path: str | Path) -> Any:
    """Parse a JSON file; InputError where it is missing or is not JSON."""
    try:
        return json.loads(read_bytes(path))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    except StoreError:
        raise
    # Python reads a thousand values within each other.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON.") from error


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON as `write_bytes` does; refuses NaN and infinities, which JSON does not have."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def prepare_output(folder: str | Path) -> str:
    """Make an output folder and prove that it can be written to, before any work is done.

    Returns the absolute path. Raises InputError where it is a file or cannot be written; a bucket
    is never made.
    """
    path = _printable(folder)
    fs, inner = filesystem(path)
    probe = join(inner, f".write-test-{uuid4().hex[:8]}")
    try:
        with told(path):
            if not is_store(path):
                fs.create_dir(inner, recursive=True)
            with fs.open_output_stream(probe) as stream:
                stream.write(b"")
            fs.delete_file(probe)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"The output folder {folder} cannot be written: {reason}.") from error
    return path


def prepare_file(path: str | Path) -> str:
    """Prove that a file can be written, before any work is done; it stays as it is.

    Returns the absolute path. Raises InputError where it is a folder or cannot be written.
    """
    found = _printable(path)
    if is_uri(path):
        filesystem(path)
        return found
    if os.path.isdir(found):
        raise InputError(f"{found} is a folder, not a file to write.")
    folder = Path(found).parent
    while not folder.exists():
        folder = folder.parent
    # Files are replaced by new ones, so that their own permissions do not matter.
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: {folder} is no folder to write in.")
    return found


def _printable(path: str | Path) -> str:
    """The absolute path, which a terminal shows and does not obey, and Arrow can encode."""
    found = absolute(path)
    if re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", found):
        raise InputError(f"The name {shown(found)} has letters that cannot be printed.")
    return found


def sha256(data: bytes | memoryview) -> str:
    """Hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Hex digest of a file, whatever its size. FileNotFoundError where there is none."""
    digest = hashlib.sha256()
    # Of an object store each piece is a request.
    with told(path), open_read(path) as stream:
        while chunk := stream.read(2**24):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Hex digest of a JSON value, whatever the order of its keys."""
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
