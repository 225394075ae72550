"""Whose containers are meant: the compose project of a root, which its release names, or its overlays."""

from __future__ import annotations

import json

from deploy.backup.errors import BackupError
from deploy.backup.place import Place

PROJECT = "autotrader"
# the `name:` of deploy/compose.sandbox.yaml
REHEARSAL, REHEARSAL_PROJECT = "sandbox", "autotrader-sandbox"


def project_of(place: Place) -> str:
    """The project that this root runs as: of a deployment what its release says, of a checkout what `make up` starts.

    Raises `BackupError` where a deployment does not say it: a guess may stop the traders of another root.
    """
    current = place.root / "current"
    if current.is_symlink() or (place.root / "releases").is_dir():
        try:
            said = json.loads((current / "release.json").read_text(encoding="utf-8"))["project"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackupError(
                f"{current}/release.json does not say which compose project {place.root} runs as "
                f"({type(error).__name__}); deploy it anew, or name the project with --project"
            ) from None
        return str(said)
    if named := place.setting("COMPOSE_PROJECT_NAME"):
        return named
    # as deploy/stack.sh reads it: a WITH that is empty wins too
    overlays = place.environment["WITH"] if "WITH" in place.environment else place.setting("DEPLOY_WITH")
    return REHEARSAL_PROJECT if REHEARSAL in overlays.replace(",", " ").split() else PROJECT
