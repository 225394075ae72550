"""What a machine gets besides the image: the folder of the release, and on the first deployment its settings."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.pi.env_file import faults, value_of
from deploy.pi.image import packed
from deploy.pi.layout import ENV_NEW, DeployError
from deploy.pi.remote import Machine

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
# what the machine runs and reads; the rest is in the image
RELEASED = ("deploy/", "Makefile", ".env.example")
PROJECT = "autotrader"
# what is on paper comes neither into the database of the real one nor among its containers
REHEARSAL, REHEARSAL_PROJECT = "sandbox", "autotrader-sandbox"


@dataclass(frozen=True, slots=True)
class Tree:
    """The project as it lies here. `is_dirty` is that it has what no commit has."""

    folder: Path
    revision: str
    is_dirty: bool
    files: tuple[str, ...]

    def release_id(self, now: datetime) -> str:
        mark = "dirty" if self.is_dirty else ""
        return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self.revision[:7]}{mark}"


def tree(folder: Path = PROJECT_FOLDER) -> Tree:
    """What git knows of the folder, but for settings: whoever forgot to have git ignore them has not asked to send
    them. Raises `DeployError`."""
    revision = _git(folder, "rev-parse", "HEAD").strip()
    changes = _git(folder, "status", "--porcelain")
    listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    files = tuple(name for name in sorted(set(listed)) if name and not _secret(name) and (folder / name).is_file())
    return Tree(folder, revision, bool(changes.strip()), files)


def _secret(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.startswith(".env") and last != ".env.example"


def project_of(overlays: tuple[str, ...], wanted: str = PROJECT) -> str:
    """The compose project of a release: a rehearsal is one of its own, unless another than the real one is wanted."""
    return REHEARSAL_PROJECT if REHEARSAL in overlays and wanted == PROJECT else wanted


def send_release(
    machine: Machine, root: str, here: Tree, id: str, overlays: tuple[str, ...], project: str = PROJECT
) -> None:
    """Put the release's folder there, whole or not at all. Raises `DeployError`."""
    files = [name for name in here.files if name.startswith(RELEASED)]
    told = {
        "id": id,
        "image": f"autotrader:{id}",
        "revision": here.revision,
        "schema": _schema(here),
        "project": project_of(overlays, project),
        "overlays": overlays,
        "dirty": here.is_dirty,
    }
    place, part = shlex.quote(f"{root}/releases/{id}"), shlex.quote(f"{root}/releases/.{id}.part")
    folders = " ".join(shlex.quote(f"{root}/{name}") for name in ("releases", "shared", "backups", "state"))
    script = (
        f"set -e; mkdir -p {folders}; rm -rf {part}; mkdir {part}; tar -xzf - -C {part}; "
        f"printf '%s\n' {shlex.quote(json.dumps(told))} > {part}/release.json; sync; mv {part} {place}"
    )
    done = subprocess.run(
        machine.command(["sh", "-c", script]), input=packed(here.folder, files), capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise DeployError(f"{machine.to}: the release does not get there: {said}; deploy again, nothing has changed")


def send_settings(
    machine: Machine, root: str, id: str, is_there: bool, replace: bool, folder: Path = PROJECT_FOLDER
) -> str:
    """Send .env.pi, or else .env, if the machine has none or `replace` is asked for; what was done, in words.

    Where there is one, the new one waits beside it until the machine switches to release `id`, and is used then.

    Raises `DeployError` where there is none to send.
    """
    own = next((path for path in (folder / ".env.pi", folder / ".env") if path.is_file()), None)
    to = f"{root}/shared/.env"
    if is_there and not replace:
        if own is None:
            return f"{to} stays as it is"
        there = machine.run(["sha256sum", to]).stdout.split()[0]
        same = there == hashlib.sha256(own.read_bytes()).hexdigest()
        return (
            f"{to} is the same as {own.name}"
            if same
            else f"{to} stays; {own.name} here differs (SEND_ENV=1 replaces it)"
        )
    if own is None:
        raise DeployError(
            f"{to} is missing, and there is neither .env.pi nor .env here to send: `make env` writes one, fill it in"
        )
    text = own.read_text(encoding="utf-8")
    if wrong := list(faults(text)):
        raise DeployError(f"{own} is not sent, for it cannot be read: {'; '.join(wrong)}")
    new, place = shlex.quote(_new(root, id)), shlex.quote(_new(root, id) if is_there else to)
    script = f"set -e; umask 077; mkdir -p {shlex.quote(root)}/shared; cat > {new}.part; sync; mv {new}.part {place}"
    machine.run(["sh", "-c", script], given=text)
    if is_there:
        return f"{own.name} is sent, for its owner alone; {to} stays until the machine switches to {id}"
    return f"{own.name} is sent to {to}, for its owner alone"


def drop_settings(machine: Machine, root: str, id: str) -> None:
    """Remove what was sent with a release that is not switched to; a machine that is away keeps it, unused."""
    new = _new(root, id)
    with suppress(DeployError):
        machine.run(["rm", "-f", new, f"{new}.part"])


def _new(root: str, id: str) -> str:
    return f"{root}/shared/{ENV_NEW}{id}"


def overlays_of(machine: Machine, root: str, wanted: str | None, here: Tree, id: str) -> tuple[str, ...]:
    """The overlays that are asked for, or that DEPLOY_WITH names in the .env that was sent for release `id`, or else in
    the machine's; in the order in which compose has to read them. Raises `DeployError`, also where a rehearsal would
    take the place of the real one or the other way round."""
    if wanted is None:
        new, used = shlex.quote(_new(root, id)), shlex.quote(f"{root}/shared/.env")
        # what it says besides stays there
        script = f'file={new}; [ -e "$file" ] || file={used}; grep -aF DEPLOY_WITH "$file"'
        wanted = value_of("DEPLOY_WITH", machine.run(["sh", "-c", script], check=False).stdout)
    names = tuple(wanted.replace(",", " ").split())
    for name in names:
        if f"deploy/compose.{name}.yaml" not in here.files:
            known = [path[15:-5] for path in here.files if path.startswith("deploy/compose.") and path.count(".") == 2]
            raise DeployError(
                f"there is no overlay {name!r} (WITH, or DEPLOY_WITH in its .env); known: {', '.join(known)}"
            )
    _check_kind(machine, root, REHEARSAL in names)
    return _in_order(names, here.folder)


def _in_order(names: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """As deploy/stack.sh orders them: the one place that knows who goes after whom."""
    words = ["sh", str(folder / "deploy" / "stack.sh"), "files"]
    environment = {**os.environ, "WITH": " ".join(names)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeployError(done.stderr.strip().removeprefix("autotrader: "))
    files = (Path(line).name.split(".") for line in done.stdout.splitlines())
    return tuple(parts[1] for parts in files if len(parts) == 3)


def _check_kind(machine: Machine, root: str, rehearses: bool) -> None:
    """Raise `DeployError` if the release in use there is a rehearsal and this one none, or the other way round."""
    said = machine.run(["cat", f"{root}/current/release.json"], check=False)
    if said.returncode:
        return
    rehearsed = REHEARSAL in json.loads(said.stdout)["overlays"]
    if rehearsed != rehearses:
        raise DeployError(
            f"the release in use in {root} is {'a rehearsal' if rehearsed else 'the real one'}, and this one "
            f"{'a rehearsal' if rehearses else 'the real one'} (the overlay {REHEARSAL} in WITH or DEPLOY_WITH): each "
            f"needs a folder of its own; for example PI_ROOT={root}-{'real' if rehearsed else 'rehearsal'}"
        )


def _schema(here: Tree) -> str:
    """The newest revision among the migrations, by their names."""
    names = [Path(name).stem for name in here.files if name.startswith("storage/migrations/versions/v")]
    return max(names, default="v").split("_")[0].removeprefix("v")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise DeployError("git is not installed here; a release is named for its commit") from None
    if done.returncode:
        raise DeployError(
            f"{folder} is no git repository with a commit; a release is named for it: {done.stderr.strip()}"
        )
    return done.stdout
