#!/usr/bin/env python3
"""Deploy this tree to a machine over ssh, go back to an older release, or see how it stands. Runs on the laptop.

`make deploy-pi PI=user@host`, `rollback-pi`, `status-pi`, `logs-pi`: docs/deploying.md. The standard library alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# run as a script, from a checkout
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.pi.image import build, context_of, send, where_to_build
from deploy.pi.launching import STOPPED
from deploy.pi.layout import DEFAULT_ROOT, DeployError
from deploy.pi.preflight import PLATFORMS, faults, notes, probe
from deploy.pi.remote import SSH_FAILED, Machine, Unreachable
from deploy.pi.sending import PROJECT, Tree, drop_settings, overlays_of, send_release, send_settings, tree

DONE, FAILED = 0, 1
# a machine that was lost is looked for again so long; it goes on by itself
RECONNECT_SECONDS = 600.0
RECONNECT_PAUSE = 5.0


def main(argv: list[str] | None = None) -> int:
    """0 when it was done; 1 or 2 when not, with the release of before in use."""
    asked = _parser().parse_args(argv)
    if not asked.pi or (asked.pi != "local" and asked.pi.startswith("-")):
        return _fail("say which machine: PI=user@host")
    machine = Machine(asked.pi, asked.port, asked.key, tuple(shlex.split(asked.ssh_options)))
    try:
        code: int = asked.do(machine, asked)
    except DeployError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("no longer followed; a switch that has begun goes on there: `make status-pi`")
    finally:
        machine.close()
    return code


def _deploy(machine: Machine, asked: argparse.Namespace) -> int:
    here = tree()
    if here.is_dirty and not asked.dirty:
        raise DeployError("the tree has changes that no commit has: commit them, or DIRTY=1 marks the release as such")
    id = here.release_id(datetime.now(UTC))
    say(f"release {id} to {machine.to}")
    found = _preflight(machine, asked.root)
    try:
        with step("settings") as told:
            told.append(send_settings(machine, asked.root, id, found["env"], asked.send_env))
        overlays = overlays_of(machine, asked.root, asked.overlays, here, id)
        say(f"  overlays: {' '.join(overlays) or 'none'}")
        _build_and_send(machine, asked, here, id, PLATFORMS[found["machine"]])
        with step("release"):
            send_release(machine, asked.root, here, id, overlays, asked.project)
    except (DeployError, KeyboardInterrupt):
        drop_settings(machine, asked.root, id)
        raise
    return _launch(machine, asked, f"{asked.root}/releases/{id}/deploy/pi/switch.py", "deploy", id)


def _preflight(machine: Machine, root: str) -> dict[str, Any]:
    with step("preflight") as told:
        found = probe(machine, root)
        wrong = list(faults(found, machine.to, root))
        for note in notes(found):
            say(f"  {note}")
        if wrong:
            raise DeployError("\n  - ".join([f"{machine.to} cannot be deployed to, nothing was changed:", *wrong]))
        free = min(found["disk_free"], found["docker_disk_free"]) / 1e9
        told.append(f"{found['machine']}, docker {found['docker']}, {free:.0f} GB free")
    return found


def _build_and_send(machine: Machine, asked: argparse.Namespace, here: Tree, id: str, wanted: str) -> None:
    image, own = f"autotrader:{id}", PLATFORMS.get(platform.machine(), "")
    where = where_to_build(asked.build, machine, wanted, own)
    with step(f"image for {wanted}, built {'here' if where == 'here' else 'on the machine, which takes minutes'}"):
        args = {"REVISION": here.revision, "VERSION": id}
        build(context_of(here.folder, list(here.files)), image, wanted, where, machine, args, own)
    if where == "here" and not machine.is_local:
        with step("sending the image"):
            send(image, machine, lambda text: say(f"  {text}"))


def _rollback(machine: Machine, asked: argparse.Namespace) -> int:
    return _launch(machine, asked, f"{asked.root}/current/deploy/pi/switch.py", "rollback", asked.to)


def _launch(machine: Machine, asked: argparse.Namespace, program: str, kind: str, release: str) -> int:
    """Have the machine switch by itself, and follow it."""
    words = ["python3", program, "launch", kind, *([release] if release else []), "--root", asked.root]
    words += ["--irreversible"] if asked.irreversible else []
    for name in ("wait", "smoke"):
        words += [f"--{name}", str(getattr(asked, name))] if getattr(asked, name) else []
    done = machine.run(words, check=False)
    if done.returncode:
        if kind == "deploy":
            drop_settings(machine, asked.root, release)
        raise DeployError(f"{machine.to}: {done.stderr.strip().removeprefix('autotrader: ')}")
    code = _follow(machine, program, asked.root, done.stdout.strip().rpartition("\n")[2])
    if kind == "deploy" and code not in (DONE, STOPPED):
        # it may have been refused before it took them
        drop_settings(machine, asked.root, release)
    return code


def _follow(machine: Machine, program: str, root: str, id: str) -> int:
    """Show what the machine says until it ends; a connection that is lost is made again."""
    line, lost_at = 0, 0.0
    while True:
        words = ["python3", program, "follow", id, "--line", str(line), "--root", root]
        with subprocess.Popen(
            machine.command(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as following:
            assert following.stdout is not None
            assert following.stderr is not None
            for text in following.stdout:
                line, lost_at = line + 1, 0.0
                sys.stdout.write(f"  {text}")
                sys.stdout.flush()
            said = following.stderr.read()
        if machine.is_local or following.returncode != SSH_FAILED:
            sys.stderr.write(said)
            return following.returncode
        lost_at = lost_at or time.monotonic()
        if time.monotonic() - lost_at > RECONNECT_SECONDS:
            raise Unreachable(f"{machine.why(said)}\nit goes on by itself: `make status-pi` shows how it ended")
        say("the connection is lost; the machine goes on by itself, connecting again ...")
        time.sleep(RECONNECT_PAUSE)


def _status(machine: Machine, asked: argparse.Namespace) -> int:
    return _shown(machine, asked, ["status"])


def _logs(machine: Machine, asked: argparse.Namespace) -> int:
    return _shown(machine, asked, ["logs", *(["--follow"] if asked.follow else []), *asked.service])


def _shown(machine: Machine, asked: argparse.Namespace, words: list[str]) -> int:
    """Run a command of the release in use, its output straight to this terminal."""
    program = f"{asked.root}/current/deploy/pi/switch.py"
    if machine.run(["test", "-f", program], check=False).returncode:
        raise DeployError(
            f"{machine.to} has no release in {asked.root} yet; `make deploy-pi PI={machine.to}` brings one"
        )
    given = machine.command(["python3", program, *words, "--root", asked.root])
    return subprocess.run(given, stdin=subprocess.DEVNULL, check=False).returncode


def say(text: str) -> None:
    sys.stdout.write(f"{datetime.now():%H:%M:%S}  {text}\n")  # noqa: DTZ005 - the clock on the wall of whoever looks
    sys.stdout.flush()


@contextmanager
def step(title: str) -> Iterator[list[str]]:
    """Say that it begins, and how long it took with what was put into the list."""
    started, told = time.monotonic(), list[str]()
    say(f"{title} ...")
    yield told
    say(f"{title}: {'; '.join(told) or 'done'} ({time.monotonic() - started:.1f} s)")


def _fail(text: str) -> int:
    sys.stderr.write(f"autotrader: {text}\n")
    return FAILED


def _parser() -> argparse.ArgumentParser:
    env = os.environ.get
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--pi", default=env("PI", ""), help="user@host, or local for this machine")
    common.add_argument("--root", default=env("PI_ROOT") or str(DEFAULT_ROOT), help="its folder of releases")
    common.add_argument("--port", default=env("PI_PORT", ""))
    common.add_argument("--key", default=env("PI_KEY", ""))
    common.add_argument("--ssh-options", default=env("SSH_OPTIONS", ""), help="more options of ssh, as one text")
    switching = argparse.ArgumentParser(add_help=False, parents=[common])
    switching.add_argument("--irreversible", action="store_true", default=env("IRREVERSIBLE") == "1")
    switching.add_argument("--wait", type=int, default=0, help="seconds until all has to be healthy")
    switching.add_argument("--smoke", type=int, default=0, help="seconds for each part of the smoke test")
    parser = argparse.ArgumentParser(prog="deploy.py", description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(required=True, metavar="deploy | rollback | status | logs")
    one = commands.add_parser("deploy", parents=[switching])
    one.add_argument("--with", dest="overlays", default=env("WITH"), help="overlays; DEPLOY_WITH of its .env otherwise")
    one.add_argument("--project", default=PROJECT, help="of compose, where several share one docker")
    one.add_argument("--build", default=env("BUILD") or "auto", help="auto, here or pi")
    one.add_argument("--dirty", action="store_true", default=env("DIRTY") == "1")
    one.add_argument("--send-env", action="store_true", default=env("SEND_ENV") == "1")
    one.set_defaults(do=_deploy)
    one = commands.add_parser("rollback", parents=[switching])
    one.add_argument("--to", default=env("TO", ""), help="a release that is there; the one before otherwise")
    one.set_defaults(do=_rollback)
    commands.add_parser("status", parents=[common]).set_defaults(do=_status)
    one = commands.add_parser("logs", parents=[common])
    one.add_argument("service", nargs="*", default=env("SERVICE", "").split())
    one.add_argument("--follow", action="store_true")
    one.set_defaults(do=_logs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
