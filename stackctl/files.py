"""Private files: 0700 directories and 0600 files that are ours, no symlink followed, written by rename.

Only `os` is imported: `stackctl env` loads this module.
"""

import os
import stat

from stackctl.errors import PreflightError

_DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def private_dir(path: str) -> str:
    """Make `path` (and its parents) a directory of ours with mode 0700; return it.

    Raises PreflightError when it is a symlink, is not ours, or others can write to it: keys and programs are kept
    there, so a directory that someone else prepared is not used.
    """
    missing: list[str] = []
    probe = path = os.path.abspath(path)
    while not os.path.lexists(probe):
        missing.append(probe)
        probe = os.path.dirname(probe)
    for each in reversed(missing):
        try:
            os.mkdir(each, 0o700)
            os.chmod(each, 0o700)  # whatever the umask took away
        except FileExistsError:
            continue
        except OSError as error:
            raise PreflightError(
                f"cannot make the directory {each}: {error.strerror}",
                remedy="set STACKCTL_HOME to a directory that you can write to",
            ) from error
    check_private_dir(path)
    return path


def check_private_dir(path: str) -> None:
    """Raise PreflightError unless `path` is a real directory of this user that nobody else can write to."""
    fix = "remove it, or set STACKCTL_HOME to a directory of your own"
    try:
        handle = os.open(path, _DIR_FLAGS)
    except OSError as error:
        what = f"cannot be opened ({error.strerror})"
        if os.path.islink(path):
            what = "is a symbolic link: whoever set it decides where your keys are kept"
            fix += f" ({os.path.realpath(path)}, where it leads, may be named itself)" if os.path.isdir(path) else ""
        raise PreflightError(f"the state directory {path} {what}", remedy=fix) from error
    try:
        facts = os.fstat(handle)
        if facts.st_uid != os.geteuid():
            raise PreflightError(f"the state directory {path} belongs to uid {facts.st_uid}, not to you", remedy=fix)
        if stat.S_IMODE(facts.st_mode) & 0o022:
            raise PreflightError(
                f"others can write to the state directory {path} (mode {stat.S_IMODE(facts.st_mode):04o})",
                remedy=f"chmod 700 {path}",
            )
    finally:
        os.close(handle)


def write_private(path: str, data: str | bytes) -> None:
    """Write `data` to `path` with mode 0600, by rename after fsync, so that a reader sees the old or the new whole."""
    raw = data.encode() if isinstance(data, str) else data
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:  # left by a crash of a process that had our pid
        os.unlink(temporary)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


def create_private(path: str, data: str) -> bool:
    """Write a new file as `write_private` does, unless there is one: False, and that one is left as it is."""
    fresh = f"{path}.{os.getpid()}.new"
    write_private(fresh, data)
    try:
        os.link(fresh, path, follow_symlinks=False)
    except FileExistsError:
        return False
    finally:
        os.unlink(fresh)
    return True


def read_given(path: str, limit: int) -> bytes:
    """Read at most `limit` bytes of a file that the user names, without waiting at a FIFO.

    Raises OSError as `open` does, also for a pipe or a device: it is read more than once. /dev/null is an empty file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        facts = os.fstat(handle)
        if stat.S_ISDIR(facts.st_mode):
            raise OSError(21, os.strerror(21), path)
        if not stat.S_ISREG(facts.st_mode) and facts.st_rdev != os.stat(os.devnull).st_rdev:
            raise OSError(22, "it is a pipe or a device, and not a file", path)
        return stream.read(limit)


def read_private(path: str, limit: int = -1) -> bytes:
    """Read a file of ours, at most `limit` bytes, without following a symlink or waiting at a FIFO.

    Raises OSError as `open` does, also for what is not a plain file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(22, "not a plain file", path)
        return stream.read(limit)
