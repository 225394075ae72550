"""Which paths are the desk's, and which of them need no session."""

from __future__ import annotations

from urllib.parse import urlsplit

HOME = "/"
LOGIN, LOGOUT = "/desk/login", "/desk/logout"
STYLE, ICON = "/desk/desk.css", "/desk/icon.svg"

# what the form for the token needs
OPEN = frozenset({LOGIN, STYLE, ICON})
# whoever has a session may end it
FOR_READERS = frozenset({LOGOUT})


def belongs(path: str) -> bool:
    """Whether a path is the desk's, also one that does not exist."""
    return path == HOME or path.startswith("/desk/")


def inside(target: str) -> str:
    """Where to go after the token was given: `target` if it is a page of the desk, else the first page.

    Never another host, whatever the form says.
    """
    if not target.startswith("/") or target.startswith("//") or "\\" in target or not target.isprintable():
        return HOME
    path = urlsplit(target).path
    return target if belongs(path) and path not in OPEN | FOR_READERS else HOME
