"""Old releases go, with their images and the settings that were sent with them; three stay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from deploy.pi.layout import ENV_NEW, DeployError, Layout, Release
from deploy.pi.stack import Stack
from deploy.pi.standing import deployed

KEPT = 3


def prune(layout: Layout, stack: Stack, used: Release, previous: Release | None) -> Iterator[str]:
    """Remove all but the release in use, the one before and the youngest that worked; a line for each removed."""
    good = [used.id, *([previous.id] if previous else []), *deployed(layout)]
    kept = list(dict.fromkeys(good))[:KEPT]
    for name in layout.ids():
        # a younger one may just have been sent
        if name in kept or name > used.id:
            continue
        try:
            stack.remove_image(layout.release(name))
            shutil.rmtree(layout.releases / name)
            layout.env_new(name).unlink(missing_ok=True)
        except (DeployError, OSError) as error:
            yield f"release {name} could not be removed: {error}"
        else:
            yield f"release {name} is removed; {', '.join(kept)} stay"
    for path in layout.env.parent.glob(f"{ENV_NEW}*"):
        # of a release that never came; a younger one may be on its way
        if path.name.removeprefix(ENV_NEW) < min(kept):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                yield f"{path} could not be removed: {error}"
