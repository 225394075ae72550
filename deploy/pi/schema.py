"""The database's schema between two releases: which of them knows the way, and whether there is one back."""

from __future__ import annotations

import json
from dataclasses import dataclass

from deploy.pi.layout import DeployError, Release
from deploy.pi.stack import Stack


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a release's image says of itself (`autotrader release facts`)."""

    known: tuple[str, ...]
    one_way: tuple[str, ...]

    @property
    def head(self) -> str:
        return self.known[-1]


def knowledge(stack: Stack, release: Release) -> Knowledge:
    """Have the image check the machine's settings, and tell what it knows. Raises `DeployError` with each fault."""
    said = _object(stack.ask(release, "release", "facts"), release)
    return Knowledge(tuple(said["known"]), tuple(said["one_way"]))


def revision(stack: Stack, release: Release) -> str | None:
    """Where the database stands; None if it has no tables. PostgreSQL has to run."""
    at = _object(stack.ask(release, "release", "schema"), release)["current"]
    return None if at is None else str(at)


def reach(stack: Stack, goal: str, releases: list[Release], known: dict[str, list[str]]) -> str:
    """Bring the schema to `goal` with whichever release knows where it stands and where it shall go; what was done.

    Raises `DeployError` if none does, or if the way cannot be gone.
    """
    at = revision(stack, releases[0])
    if at == goal:
        return f"the schema is at {goal} already"
    for release in releases:
        knows = known.get(release.id, [])
        if goal in knows and (at is None or at in knows):
            stack.ask(release, "release", "schema", goal)
            return f"schema {at or 'none'} -> {goal}"
    raise DeployError(f"no release here knows the way of the schema from {at} to {goal}")


def check_way(at: str | None, target: Knowledge, previous: Knowledge | None, irreversible: bool) -> str:
    """What happens to the schema, in words. Raises `DeployError` if that cannot be done, or not be undone."""
    if at is None or at == target.head:
        return f"schema stays at {at}" if at else f"schema none -> {target.head}"
    if at in target.known:
        ahead = target.known[target.known.index(at) + 1 :]
        ways = [name for name in ahead if name in target.one_way]
        if ways and not irreversible:
            raise DeployError(
                f"migration {', '.join(ways)} has no way back, so a failure could not be undone without the dump; give "
                "it a downgrade(), or deploy with IRREVERSIBLE=1 when nothing may be traded meanwhile anyhow"
            )
        return f"schema {at} -> {target.head}"
    if previous is not None and at in previous.known and target.head in previous.known:
        undone = previous.known[previous.known.index(target.head) + 1 : previous.known.index(at) + 1]
        ways = [name for name in undone if name in previous.one_way]
        if ways:
            raise DeployError(f"migration {', '.join(ways)} has no way back: an older release needs a dump of its time")
        return f"schema {at} -> {target.head} (back)"
    raise DeployError(
        f"the database stands at {at}, which this release (up to {target.head}) does not know; deploy a newer release"
    )


def _object(text: str, release: Release) -> dict[str, list[str]]:
    """The JSON object in the last line of what a release said."""
    last = text.strip().rpartition("\n")[2]
    try:
        said: dict[str, list[str]] = json.loads(last)
    except ValueError:
        raise DeployError(f"release {release.id} does not answer as a release does: {last[:200]!r}") from None
    return said
