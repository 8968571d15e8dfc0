"""Files in a folder that somebody else owns: read and written without following a link, blocking on a FIFO or believing a size.

After the first session everything in a worktree is hostile data. A path is walked component by component from an open directory.
"""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotAFile(Exception):
    """Something stands at the path that is not a regular file of at most the allowed size."""


def read(root: Path, path: str, limit: int) -> bytes | None:
    """The content of `root/path`, None where there is nothing. Raises NotAFile for a link, folder, device or FIFO, or beyond `limit` bytes."""
    *folders, name = path.split("/")
    opened = [os.open(root, _DIRECTORY)]
    try:
        for folder in folders:
            opened.append(os.open(folder, _DIRECTORY, dir_fd=opened[-1]))
        opened.append(os.open(name, _FILE, dir_fd=opened[-1]))
        status = os.fstat(opened[-1])
        if not stat.S_ISREG(status.st_mode):
            raise NotAFile(f"{path} is not a regular file")
        if status.st_size > limit:
            raise NotAFile(f"{path} has {status.st_size:,} bytes, more than {limit:,}")
        data = b""
        while len(data) <= limit and (chunk := os.read(opened[-1], limit + 1 - len(data))):
            data += chunk
        if len(data) > limit:
            raise NotAFile(f"{path} has more than {limit:,} bytes")
        return data
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotAFile(f"{path} cannot be read ({error.strerror})") from error
    finally:
        for descriptor in reversed(opened):
            os.close(descriptor)


def write(root: Path, path: str, content: bytes, *, attic: Path) -> list[str]:
    """Put `content` at `root/path` by rename in the same folder. What stands in the way is moved into `attic`; returns sentences about that. Raises OSError."""
    *folders, name = path.split("/")
    moved: list[str] = []
    opened = [os.open(root, _DIRECTORY)]
    try:
        walked = ""
        for folder in folders:
            walked += folder + "/"
            opened.append(_enter(opened[-1], folder, walked, attic, moved))
        try:
            if not stat.S_ISREG(os.lstat(name, dir_fd=opened[-1]).st_mode):
                moved.append(_put_away(opened[-1], name, path, attic))
        except FileNotFoundError:
            pass
        temporary = f".{name}.new"  # always the same: what a killed writer left is replaced, and never committed
        _make_room(opened[-1], temporary, attic)
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=opened[-1]
        )
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=opened[-1], dst_dir_fd=opened[-1])
    finally:
        for descriptor in reversed(opened):
            os.close(descriptor)
    return moved


def put_away(root: Path, path: str, attic: Path) -> str:
    """Move what stands at `root/path` into `attic`, whatever it is; the folders above it must be plain. Returns a sentence. Raises OSError."""
    *folders, name = path.split("/")
    opened = [os.open(root, _DIRECTORY)]
    try:
        for folder in folders:
            opened.append(os.open(folder, _DIRECTORY, dir_fd=opened[-1]))
        return _put_away(opened[-1], name, path, attic)
    finally:
        for descriptor in reversed(opened):
            os.close(descriptor)


def _make_room(parent: int, name: str, attic: Path) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError:
        _put_away(parent, name, name, attic)


def _enter(parent: int, folder: str, shown: str, attic: Path, moved: list[str]) -> int:
    try:
        descriptor = os.open(folder, _DIRECTORY, dir_fd=parent)
        if os.fstat(descriptor).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(descriptor, 0o755)  # root gets in, but the agent in its sandbox does not
        return descriptor
    except FileNotFoundError:
        pass
    except PermissionError:
        _open_up(parent, folder)
        return os.open(folder, _DIRECTORY, dir_fd=parent)
    except (NotADirectoryError, OSError):
        moved.append(_put_away(parent, folder, shown, attic))
    os.mkdir(folder, 0o755, dir_fd=parent)
    return os.open(folder, _DIRECTORY, dir_fd=parent)


def _open_up(parent: int, folder: str) -> None:
    """Give ourselves every right to a folder, and to nothing that a link in its place points to."""
    if not hasattr(os, "O_PATH"):
        os.chmod(folder, 0o755, dir_fd=parent, follow_symlinks=False)
        return
    descriptor = os.open(folder, os.O_PATH | _DIRECTORY, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", 0o755)
    finally:
        os.close(descriptor)


def _put_away(parent: int, name: str, shown: str, attic: Path) -> str:
    """Move `name` into the attic, which is on the same file system, as it is."""
    attic.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = attic / f"{uuid.uuid4().hex[:8]}-{name.lstrip('.')}"
    os.rename(name, target, src_dir_fd=parent)
    return f"{shown.rstrip('/')} was not a plain file or folder and was moved to {target}"
