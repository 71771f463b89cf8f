"""Reading the client key. Light: `stackctl env` loads it."""

from __future__ import annotations

from stackctl import files
from stackctl.errors import StackError

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from stackctl.paths import StackPaths


def read(paths: StackPaths) -> str | None:
    """The stack's client key, None before its first `up`. Raises StackError when it is there but unreadable."""
    try:
        return files.read_private(paths.client_key).decode().strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise StackError(
            f"the key file {paths.client_key} cannot be read: {reason}",
            remedy="correct its permissions, or remove it: the next `stackctl up` makes a new key",
        ) from error
