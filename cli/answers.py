"""How a command shows what an operator's question is answered with."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import typer


def tell(question: Coroutine[Any, Any, str]) -> None:
    """Print the answer; what cannot be answered is one line and exit code 1."""
    typer.echo(answer(question))


def answer(question: Coroutine[Any, Any, str]) -> str:
    """The answer; what cannot be answered is one line and exit code 1."""
    from operate import CannotAnswer

    try:
        return asyncio.run(question)
    except CannotAnswer as error:
        sys.exit(f"autotrader: {error}")
