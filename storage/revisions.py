"""What this version knows of the schema's revisions: their order, and which of them cannot be undone."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass

from storage.migrate import config, downgrade, upgrade


@dataclass(frozen=True, slots=True)
class Revisions:
    """`known` begins with the first revision and ends with the one this version needs; `one_way` has no way back."""

    known: tuple[str, ...]
    one_way: tuple[str, ...]


class UnknownRevision(Exception):
    """This version of the program has no migration of that name."""


def revisions() -> Revisions:
    """As the migration scripts of this version say."""
    from alembic.script import ScriptDirectory

    scripts = list(ScriptDirectory.from_config(config()).walk_revisions())[::-1]
    one_way = tuple(script.revision for script in scripts if not _undoes(inspect.getsource(script.module)))
    return Revisions(tuple(script.revision for script in scripts), one_way)


async def move(url: str, at: str | None, to: str) -> None:
    """Bring a database that stands at `at` (None: at none) to `to`, up or down, in one transaction.

    Raises `UnknownRevision` for one that this version does not know, `StorageError` where the database cannot be used.
    """
    known = revisions().known
    for name in (to, at):
        if name is not None and name not in known:
            raise UnknownRevision(f"this version knows the revisions {known[0]} to {known[-1]}, not {name}")
    if at is None or known.index(at) < known.index(to):
        await upgrade(url, to)
    elif at != to:
        await downgrade(url, to)


def _undoes(source: str) -> bool:
    """Whether a migration's `downgrade` does anything at all."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            return any(not _says_nothing(statement) for statement in node.body)
    return False


def _says_nothing(statement: ast.stmt) -> bool:
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_text or isinstance(statement, ast.Pass | ast.Raise)
