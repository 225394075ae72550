"""What goes wrong with backups."""

from __future__ import annotations


class BackupError(Exception):
    """A backup or a restore could not be done; the message is a line that names the fault and the cure."""


class CopyError(BackupError):
    """The backup is good, and its copy off this device failed."""
