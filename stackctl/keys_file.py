"""Reading the client key. Light: `stackctl env` loads it."""

from __future__ import annotations

from stackctl import files
from stackctl.errors import StackError

_SHORTEST, _LONGEST = 8, 512  # characters: what is shorter can be guessed, what is longer fits in no header

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from stackctl.paths import StackPaths


def read(paths: StackPaths) -> str | None:
    """The stack's client key, None before its first `up`. Raises StackError when it is there but unreadable."""
    try:
        key = files.read_private(paths.client_key, limit=_LONGEST + 2).decode().strip()
        if _SHORTEST <= len(key) <= _LONGEST and key.isascii() and key.isprintable():
            return key
        raise StackError(
            f"the key file {paths.client_key} does not hold a key",
            remedy="remove it: the next `stackctl up` or `stackctl restart` makes a new key",
        )
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise StackError(
            f"the key file {paths.client_key} cannot be read: {reason}",
            remedy="correct its permissions, or remove it: the next `stackctl up` makes a new key",
        ) from error
