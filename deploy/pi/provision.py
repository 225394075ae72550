"""Make a machine ready for deployments, once: `provision.py user@host`, or `make provision-pi PI=user@host`.

Repeatable: it says item by item what it changed, and nothing where all is as it should be. `--dry` changes nothing and
says what it would change. Needs the extra `deploy` (pyinfra) here, and ssh and sudo there.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

# run as a script, from a checkout
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.pi.provision_files import DEFAULT_ROOT
from deploy.pi.provision_probe import (
    CannotProvision,
    Machine,
    Target,
    check,
    parse_target,
    probe,
    warnings,
)

FAILED = 1
REBOOT = "memory limits of containers (cmdline.txt)"


def main(argv: list[str] | None = None) -> int:
    """0, or 1 with one line that says why."""
    asked = _parser().parse_args(argv)
    try:
        target = parse_target(asked.machine, asked.port, asked.key, asked.ssh_options)
        if not asked.root.startswith("/") or asked.root.rstrip("/") == "":
            raise CannotProvision(f"--root must be a whole path such as {DEFAULT_ROOT}, not {asked.root!r}")
        machine = probe(target)
        check(machine, target)
        _say(f"{target}: {machine}")
        changed = _provision(target, machine, asked)
    except CannotProvision as error:
        sys.stderr.write(f"provision: {error}\n")
        return FAILED
    for warning in warnings(machine):
        _say(f"note: {warning}")
    if REBOOT in changed or (machine.content("cmdline") is not None and "memory" not in machine["controllers"].split()):
        _say("note: restart it once, for the memory limits: sudo reboot")
    return 0


def _provision(target: Target, machine: Machine, asked: argparse.Namespace) -> list[str]:
    """Do it; returns the titles of what was, or with --dry would be, changed. Raises `CannotProvision`."""
    os.environ["PYINFRA_PROGRESS"] = "off"
    try:
        from deploy.pi import provision_run
    except ModuleNotFoundError as error:
        raise CannotProvision(
            f"{error.name} is not installed here: make provision-pi installs it, or pip install --no-deps "
            "--require-hashes -r requirements-deploy.lock"
        ) from None
    wanted: dict[str, Any] = {"root": asked.root.rstrip("/"), "user": machine["user"], "journal": asked.journal}
    run = provision_run.prepare(target, machine, wanted)
    items = len(run.titles)
    if asked.dry:
        changed = run.would_change()
        for title in changed:
            _say(f"  would change  {title}")
        _say(f"would change {len(changed)} of {items} items" if changed else "would change nothing")
        return changed
    changed = run.change(lambda title: _say(f"  changed  {title}"))
    nothing = f"changed nothing: all {items} items are so already"
    _say(f"changed {len(changed)} of {items} items" if changed else nothing)
    return changed


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="provision.py", description="Make a machine ready for deployments.")
    said = os.environ
    text = "such as pi@raspberrypi.local; without it, PI"
    parser.add_argument("machine", nargs="?", default=said.get("PI", ""), metavar="user@host", help=text)
    parser.add_argument("--port", default=said.get("PI_PORT", ""), help="of ssh; PI_PORT")
    parser.add_argument("--key", default=said.get("PI_KEY", ""), metavar="FILE", help="ssh's own without it; PI_KEY")
    parser.add_argument("--ssh-options", default=said.get("SSH_OPTIONS", ""), help="more of them; SSH_OPTIONS")
    parser.add_argument("--root", default=said.get("PI_ROOT") or DEFAULT_ROOT, help="folder of the releases; PI_ROOT")
    parser.add_argument(
        "--journal", choices=["persistent", "volatile"], default="persistent", help="volatile: in memory only"
    )
    parser.add_argument("--dry", action="store_true", help="change nothing, say what would be changed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
