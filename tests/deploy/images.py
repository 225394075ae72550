"""The images of a test session: the official ones where they can be had, or stand-ins of our own.

Where no image can be pulled, Debian's base system is made by debootstrap, and PostgreSQL, Redis, nginx and the programs
of the monitoring are put on it from Debian's packages, with entrypoints that keep the contract of the official images
(`standins/NAME`). They get the very names that deploy/compose*.yaml asks for, so that the files under test stay as they
are. A stand-in carries the label `autotrader.stand-in` with a hash of all that it was made of: it is made anew when
that changes, and `untag` takes the official name from it again, so that nobody mistakes it for the official image.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from engine import CACHE, ROOT, Engine, EngineFailed, NoEngine, Say, apt_install, as_root

BASE = "debian:trixie-slim"
LABEL = "autotrader.stand-in"
KEPT = "autotrader-stand-in"
KEPT_BASE = f"{KEPT}:trixie"
STANDINS = Path(__file__).parent / "standins"
OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")
PULL = 600.0
"""Seconds for one image."""


def named_in(files: Iterable[Path]) -> set[str]:
    """The images that compose files ask for by default, without those that are built here."""
    # by line: YAML's own reader does not know the tags of compose, such as !reset
    texts = (file.read_text(encoding="utf-8") for file in files)
    images = (name for text in texts for name in re.findall(r"^ +image: *[\"']?([^\s\"']+)", text, re.MULTILINE))
    named = (re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", image) for image in images)
    return {image for image in named if "$" not in image and not image.startswith("autotrader:")}


def of_compose() -> set[str]:
    return named_in(sorted((ROOT / "deploy").glob("compose*.yaml")))


def provide(engine: Engine, say: Say) -> dict[str, str]:
    """See that the images exist. Returns what there is: the name → `official`, `stand-in` or why it is missing.

    Raises `NoEngine` where the engine cannot run a container at all.
    """
    with one_at_a_time("images"):
        can_pull = _base(engine, say)
        found = {BASE: "official" if can_pull else "stand-in"}
        for image in sorted(of_compose()):
            found[image] = _provide(engine, image, can_pull, say)
        return found


def build(
    engine: Engine, context: Path, tag: str, *, args: Mapping[str, str] | None = None, timeout: float = 1800
) -> None:
    """`docker build` with the network of this machine, and its proxy where it has one."""
    proxies = {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if os.environ.get(name)}
    given = [part for name, value in {**proxies, **(args or {})}.items() for part in ("--build-arg", f"{name}={value}")]
    engine.docker("build", "--quiet", "--network", "host", "--tag", tag, *given, str(context), timeout=1800)


def untag(engine: Engine) -> None:
    """Take the official names from our stand-ins; under `autotrader-stand-in:…` they stay for the next run."""
    for line in engine.docker(
        "image", "ls", "--filter", f"label={LABEL}", "--format", "{{.Repository}}:{{.Tag}}"
    ).split():
        if not line.startswith((f"{KEPT}:", "<none>")):
            engine.docker("image", "rm", "--no-prune", line)


def _base(engine: Engine, say: Say) -> bool:
    """Debian's base system; whether images can be pulled here."""
    can_pull = False
    if not engine.exists(BASE):
        can_pull = _pull(engine, BASE, say)
        if not can_pull:
            _debootstrap(engine, say)
    elif not _label(engine, BASE) and engine.docker("image", "inspect", "--format", "{{.RepoDigests}}", BASE) != "[]":
        can_pull = True
    try:
        engine.docker("run", "--rm", "--network", "none", BASE, "true")
    except EngineFailed as failed:
        raise NoEngine(f"the Docker engine cannot run a container here: {failed}") from failed
    return can_pull


def _debootstrap(engine: Engine, say: Say) -> None:
    """Make the base image from Debian's packages, as its own builders do, with this machine's certificates in it."""
    if engine.exists(KEPT_BASE):
        engine.docker("tag", KEPT_BASE, BASE)
        return
    archive = CACHE / "trixie.tar"
    if not archive.exists():
        if not as_root():
            raise NoEngine(f"{BASE} can neither be pulled, nor made by debootstrap without root")
        if shutil.which("debootstrap") is None and not apt_install("debootstrap"):
            raise NoEngine(f"{BASE} cannot be pulled, and apt-get cannot install debootstrap")
        say(f"{BASE} cannot be pulled: making it by debootstrap (about a minute, once)")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="autotrader-trixie-") as folder:
            root = Path(folder) / "root"
            _checked("debootstrap", "--variant=minbase", "--include=ca-certificates", "trixie", str(root))
            certificates = sorted(OWN_CERTIFICATES.glob("*.crt"))
            for certificate in certificates:
                shutil.copy(certificate, root / OWN_CERTIFICATES.relative_to("/"))
            _checked("chroot", str(root), "update-ca-certificates")
            part = archive.with_suffix(f".{os.getpid()}")
            exclude = [f"--exclude=./{name}" for name in ("var/cache/apt/archives/*.deb", "proc/*", "sys/*", "dev/*")]
            _checked("tar", "-C", str(root), *exclude, "-cf", str(part), ".")
            part.replace(archive)
    change = ["--change", 'CMD ["bash"]', "--change", f"LABEL {LABEL}=debootstrap"]
    if os.environ.get("PIP_CERT"):
        change += ["--change", "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt"]
    engine.docker("import", *change, str(archive), KEPT_BASE)
    engine.docker("tag", KEPT_BASE, BASE)


def _provide(engine: Engine, image: str, can_pull: bool, say: Say) -> str:
    if engine.exists(image) and not _label(engine, image):
        return "official"
    if can_pull and _pull(engine, image, say):
        return "official"
    name, _, version = image.rpartition("/")[2].partition("@")[0].partition(":")
    context = STANDINS / name
    if not context.is_dir():
        return f"cannot be pulled, and no package of Debian's stands in for {name}"
    recipe = _recipe(engine, context, version)
    if engine.exists(image) and _label(engine, image) == recipe:
        return "stand-in"
    kept = f"{KEPT}:{recipe}"
    if not engine.exists(kept):
        say(f"{image} cannot be pulled: making a stand-in from Debian's packages")
        build(engine, context, kept, args={"BASE": BASE, "VERSION": version, "RECIPE": recipe})
    engine.docker("tag", kept, image)
    return "stand-in"


def _recipe(engine: Engine, context: Path, version: str) -> str:
    made_of = hashlib.sha256(engine.docker("image", "inspect", "--format", "{{.Id}}", BASE).encode())
    made_of.update(version.encode())
    for file in sorted(path for path in context.rglob("*") if path.is_file()):
        made_of.update(file.name.encode() + file.read_bytes())
    return f"{context.name}-{made_of.hexdigest()[:16]}"


def _label(engine: Engine, image: str) -> str:
    return engine.docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', image).replace(
        "<no value>", ""
    )


def _pull(engine: Engine, image: str, say: Say) -> bool:
    try:
        engine.docker("pull", "--quiet", image, timeout=PULL)
    except (EngineFailed, subprocess.TimeoutExpired):
        return False
    say(f"pulled {image}")
    return True


def _checked(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=1200)
    if done.returncode:
        raise EngineFailed(command, done.returncode, done.stdout, done.stderr)


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Sessions side by side wait for each other, and find what the first has made."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
