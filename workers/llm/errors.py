"""What may be wrong with the settings of language models."""

from __future__ import annotations


class BadModel(Exception):
    """A model that cannot be used; the message names the setting and the cure."""
