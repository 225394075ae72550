"""Why an operator's question has no answer."""

from __future__ import annotations


class CannotAnswer(Exception):
    """The question cannot be answered; the message is one line with the cure."""
