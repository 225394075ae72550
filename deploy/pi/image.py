"""The image of a release: built for the machine's architecture, and only what is missing there is sent."""

from __future__ import annotations

import fnmatch
import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from deploy.pi.layout import DeployError
from deploy.pi.remote import Machine

BLOCK = 1 << 20
PROGRESS_EVERY = 20 * BLOCK
DOCKERFILE = "deploy/Dockerfile"

Say = Callable[[str], None]


def where_to_build(wanted: str, machine: Machine, platform: str, own: str) -> str:
    """`here` or `pi`: here where this machine can, since a Pi takes minutes. Raises `DeployError`."""
    if wanted not in ("auto", "here", "pi"):
        raise DeployError(f"BUILD={wanted} is none of auto, here, pi")
    if machine.is_local or wanted == "here":
        return "here"
    if wanted == "pi" or not shutil.which("docker"):
        return "pi"
    return "here" if platform == own or _crosses(platform) else "pi"


def build(
    context: bytes, image: str, platform: str, where: str, machine: Machine, args: dict[str, str], own: str
) -> None:
    """Build the image from a tar of the tree. Raises `DeployError` with the end of what docker said."""
    given = [part for name, value in args.items() for part in ("--build-arg", f"{name}={value}")]
    # proxies, mirrors, the network of the build
    given += shlex.split(os.environ.get("BUILD_ARGS", ""))
    words = ["docker", "build", "-q", "-t", image, "-f", DOCKERFILE, *given, "-"]
    if where == "here" and platform != own:
        words = ["docker", "buildx", "build", "--load", "--platform", platform, *words[2:]]
    done = subprocess.run(
        words if where == "here" else machine.command(words), input=context, capture_output=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-15:]
        raise DeployError("\n".join(["the image cannot be built:", *said]))


def send(image: str, machine: Machine, say: Say) -> None:
    """Bring the image onto the machine, without the layers that it has. Raises `DeployError`."""
    own = _inspected(["docker", "image", "inspect", image])
    there = machine.run(["docker", "image", "inspect", "--format", "{{.Id}}", image], check=False)
    if there.returncode == 0 and there.stdout.strip() == own[0]["Id"]:
        say("the machine has it already")
        return
    known = _layers_there(machine)
    with tempfile.TemporaryDirectory(prefix="autotrader-image-") as folder:
        saved = Path(folder) / "image.tar"
        _check(subprocess.run(["docker", "save", "-o", str(saved), image], capture_output=True, check=False))
        less = Path(folder) / "less.tar"
        sent, of = strip(saved, less, known)
        if sent < of:
            say(f"{of - sent} of {of} layers are there already")
            try:
                _load(less, machine, say)
                return
            except DeployError:
                # a docker that keeps layers in another way wants all of them
                say("it wants all layers; sending the whole image")
        _load(saved, machine, say)


def strip(saved: Path, less: Path, known: list[tuple[str, ...]]) -> tuple[int, int]:
    """Write a saved image without the layers that some image of the machine begins with; how many stay, of how many."""
    with tarfile.open(saved) as whole:
        manifest = json.loads(_read(whole, "manifest.json"))[0]
        layers = tuple(json.loads(_read(whole, manifest["Config"]))["rootfs"]["diff_ids"])
        common = max((_common(layers, have) for have in known), default=0)
        # a file may be two layers at once, such as the empty one
        leave_out = set(manifest["Layers"][:common]) - set(manifest["Layers"][common:])
        with tarfile.open(less, "w") as fewer:
            for member in whole:
                if member.name not in leave_out:
                    fewer.addfile(member, whole.extractfile(member) if member.isfile() else None)
    return len(layers) - common, len(layers)


def context_of(folder: Path, files: list[str]) -> bytes:
    """A tar of those files of a project that its .dockerignore lets into the image, and of the Dockerfile.

    Docker itself applies .dockerignore to folders, not to a tar. Raises `DeployError` where it cannot be read.
    """
    let_in, kept_out = _dockerignore(folder)
    built = [
        name
        for name in files
        if name == DOCKERFILE
        or (
            any(name == one or name.startswith(f"{one}/") for one in let_in)
            and not any(fnmatch.fnmatchcase(part, one) for part in name.split("/") for one in kept_out)
        )
    ]
    return packed(folder, built)


def _dockerignore(folder: Path) -> tuple[list[str], list[str]]:
    """The files and folders that are let in, and the patterns of names that are kept out wherever they are."""
    path, let_in, kept_out = folder / ".dockerignore", list[str](), list[str]()
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise DeployError(f"{path} cannot be read ({error.strerror}); it lists what the image is made of") from None
    rules = [line for line in lines if line and not line.startswith("#")]
    if rules[:1] != ["*"]:
        raise DeployError(f"{path} does not begin with *, which keeps out what no later line lets in; put it there")
    for rule in rules[1:]:
        if rule.startswith("!") and not set(rule) & set("*?["):
            let_in.append(rule[1:].strip("/"))
        elif rule.startswith("**/") and "/" not in rule[3:]:
            kept_out.append(rule[3:])
        else:
            raise DeployError(f"{path}: {rule!r} is neither !PATH nor **/PATTERN of a name; write it as one of them")
    return let_in, kept_out


def packed(folder: Path, files: list[str]) -> bytes:
    """A tar of files of a folder."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", compresslevel=3) as tar:
        for name in files:
            tar.add(folder / name, name, recursive=False)
    return made.getvalue()


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    return next(
        (n for n, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other))
    )


def _layers_there(machine: Machine) -> list[tuple[str, ...]]:
    """The layers of each image of ours on the machine."""
    listed = machine.run(["docker", "image", "ls", "--quiet", "autotrader"], check=False).stdout.split()
    if not listed:
        return []
    done = machine.run(["docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", *dict.fromkeys(listed)])
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def _load(path: Path, machine: Machine, say: Say) -> None:
    packing = (
        "zstd" if shutil.which("zstd") and machine.run(["sh", "-c", "command -v zstd"], check=False).stdout else "gzip"
    )
    fast = ["zstd", "-q", "-c", "-3", "-T0"] if packing == "zstd" else ["gzip", "-c", "-1"]
    total = path.stat().st_size
    unpack = machine.command(["sh", "-c", f"{packing} -d -c | docker load -q"])
    with path.open("rb") as source:
        packed = subprocess.Popen(fast, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert packed.stdin is not None
        loading = subprocess.Popen(unpack, stdin=packed.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if packed.stdout is not None:
            packed.stdout.close()
        try:
            for done in _copy(source, packed.stdin):
                say(f"{100 * done // total} % of {total / 1e6:.0f} MB")
        except BrokenPipeError:
            pass
        finally:
            _close(packed.stdin)
        packed.wait()
        said = loading.communicate()
    if loading.returncode:
        text = (said[1] or said[0]).decode(errors="replace").strip()[-1000:]
        raise DeployError(
            f"{machine.to}: the image does not get there: {text or 'the connection was lost; deploy again'}"
        )


def _copy(source: IO[bytes], target: IO[bytes]) -> Iterator[int]:
    done, told = 0, 0
    while block := source.read(BLOCK):
        target.write(block)
        done += len(block)
        if done - told >= PROGRESS_EVERY:
            told = done
            yield done


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.extractfile(name)
    if member is None:
        raise DeployError(f"docker saved an image without {name}")
    return member.read()


def _crosses(platform: str) -> bool:
    """Whether buildx here can build for that architecture."""
    done = subprocess.run(["docker", "buildx", "inspect"], capture_output=True, text=True, check=False)
    return done.returncode == 0 and platform in done.stdout


def _inspected(words: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run(words, capture_output=True, check=False)
    _check(done)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _check(done: subprocess.CompletedProcess[bytes]) -> None:
    if done.returncode:
        raise DeployError(f"docker here: {done.stderr.decode(errors='replace').strip()[-1000:]}")
