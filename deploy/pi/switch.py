#!/usr/bin/env python3
"""Switch a machine from one release to another, and back when anything fails. Runs ON the machine.

It goes on when the connection that began it is lost, and is finished by `recover` when it was cut off itself. The
standard library alone, for the Python of the operating system.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

# run as a script, from a release
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.pi.boot_unit import count_as_started
from deploy.pi.journal import LOCK_PATIENCE_SECONDS, Busy, Journal, alone, new_id, read_journal
from deploy.pi.launching import END, follow, launch
from deploy.pi.layout import DEFAULT_ROOT, DeployError, Layout, append_line
from deploy.pi.pruning import prune
from deploy.pi.stack import SMOKE_SECONDS, WAIT_SECONDS, CommandFailed, Stack
from deploy.pi.standing import last_good, stand
from deploy.pi.steps import Deployment

DONE, FAILED, REFUSED, BUSY = 0, 1, 2, 75
# whoever only looks whether the lock is taken has it for a moment
LOOKS_SECONDS = 1.0


def main(argv: list[str] | None = None) -> int:
    """0; 1 where the previous release is in use again, or nothing is; 2 for what was refused; 75 while another one
    is under way."""
    asked = _parser().parse_args(argv)
    layout = Layout(Path(asked.root).resolve())
    try:
        code: int = asked.do(layout, asked)
    except Busy as error:
        return _fail(str(error), BUSY)
    except DeployError as error:
        return _fail(str(error), REFUSED)
    except OSError as error:
        return _fail(f"{error.filename or 'the disk'}: {error.strerror}; {layout.command('recover')} goes on", FAILED)
    except KeyboardInterrupt:
        return _fail(f"interrupted; {layout.command('recover')} brings to its end what had begun", FAILED)
    return code


def _switch(layout: Layout, asked: argparse.Namespace) -> int:
    """Deploy, or go back to an older release: the same steps."""
    id = asked.id or new_id(asked.kind)
    code = FAILED
    try:
        with alone(layout, LOOKS_SECONDS) as lock:
            _finish_what_is_open(layout, lock, asked)
            code = _run(layout, lock, id, asked)
        if code == DONE and (told := count_as_started(layout)):
            append_line(layout.log_of(id), f"{time.strftime('%H:%M:%S', time.gmtime())}  {told}")
    except DeployError as error:
        code = BUSY if isinstance(error, Busy) else REFUSED
        append_line(layout.log_of(id), f"autotrader: {error}")
        raise
    finally:
        append_line(layout.log_of(id), f"{END} {code}")
    return code


def _run(layout: Layout, lock: int, id: str, asked: argparse.Namespace) -> int:
    stack = Stack(layout, lock, asked.wait)
    used = layout.current_id()
    target = layout.release(asked.release or last_good(layout, stack, used))
    if target.id == used:
        raise DeployError(f"release {target.id} is in use already")
    previous = layout.release(used) if used else None
    program = str(target.program if asked.kind == "deploy" or previous is None else previous.program)
    journal = Journal(layout, id, asked.kind, target.id, previous.id if previous else None, program)
    journal.began = f"{time.strftime('%Y-%m-%dT%H:%M:%S+00:00', time.gmtime())}"
    if previous is None:
        layout.begin(target.id)
    journal.save()
    journal.say(
        f"{asked.kind} of {target.id}" + (f", from {previous.id}" if previous else ", the first of this machine")
    )
    deployment = Deployment(journal, stack, target, previous, asked.irreversible, asked.smoke)
    code = _forward_or_back(deployment)
    if code == DONE:
        for line in prune(layout, stack, target, previous):
            journal.say(line)
    return code


def _forward_or_back(deployment: Deployment) -> int:
    journal = deployment.journal
    try:
        deployment.forward()
    except (DeployError, OSError) as error:
        fault = str(error)
    except Exception as error:  # noqa: BLE001  the edge: whatever it was, the release of before must come back
        fault = f"{type(error).__name__}: {error}"
    else:
        journal.say(f"release {journal.target} is in use")
        return DONE
    if journal.layout.current_id() == journal.target:
        journal.say(f"release {journal.target} runs, but its orders are still held: {fault}")
        raise DeployError(f"{fault}\n{journal.layout.command('recover')} tries again to let it trade")
    return _back(deployment, fault)


def _back(deployment: Deployment, fault: str) -> int:
    journal = deployment.journal
    try:
        deployment.back(fault)
    except DeployError as error:
        journal.say(f"NOT BROUGHT BACK: {error}")
        raise DeployError(f"{error}\nthen run {journal.layout.command('recover')}, which goes on from there") from None
    kept = f"release {journal.previous} is in use" if journal.previous else "no release is in use"
    journal.say(f"{journal.outcome}: {kept}. The fault was: {journal.headline}")
    return FAILED


def _recover(layout: Layout, asked: argparse.Namespace) -> int:
    """Finish what a power cut, or the end of whoever did it, has left."""
    journal = read_journal(layout)
    if journal is not None and journal.phase != "ended" and _other_program(journal):
        # who has begun it knows its steps
        os.execv(sys.executable, [sys.executable, journal.program, *sys.argv[1:]])
    with alone(layout, LOCK_PATIENCE_SECONDS) as lock:
        return _finish_what_is_open(layout, lock, asked)


def _finish_what_is_open(layout: Layout, lock: int, asked: argparse.Namespace) -> int:
    journal = read_journal(layout)
    if journal is None or journal.phase == "ended":
        return DONE
    journal.say("found cut off; it is brought to its end")
    sys.stderr.write(f"deployment {journal.id} was cut off; it is brought to its end\n")
    stack = Stack(layout, lock, asked.wait)
    previous = layout.release(journal.previous) if journal.previous else None
    deployment = Deployment(journal, stack, layout.release(journal.target), previous)
    if journal.phase == "forward" and layout.current_id() == journal.target:
        # it has passed everything: there is nothing to go back for
        try:
            stack.up(deployment.target)
        except CommandFailed as error:
            # the release that mends it comes by the next deployment, which must not wait for this one's health
            journal.say(f"it runs, but not all of it is healthy: {error}")
            stack.start_anyhow(deployment.target)
        deployment.finish()
        journal.say(f"release {journal.target} is in use")
        code = DONE
    else:
        code = _back(deployment, "it was cut off (power cut, or the process was killed)")
    # for whoever has followed it all the while
    append_line(layout.log_of(journal.id), f"{END} {code}")
    return DONE


def _other_program(journal: Journal) -> bool:
    program = Path(journal.program)
    return program.is_file() and program.resolve() != Path(__file__).resolve()


def _up(layout: Layout, asked: argparse.Namespace) -> int:
    """Start the release in use, as after a boot."""
    with alone(layout, LOCK_PATIENCE_SECONDS) as lock:
        _finish_what_is_open(layout, lock, asked)
        if (used := layout.current_id()) is None:
            raise DeployError("no release is in use; `make deploy-pi` brings one")
        Stack(layout, lock, asked.wait).up(layout.release(used))
    return DONE


def _down(layout: Layout, _: argparse.Namespace) -> int:
    """Stop everything in order: the beat first, the notifier last."""
    with alone(layout, LOCK_PATIENCE_SECONDS) as lock:
        if used := layout.current_id():
            stack, release = Stack(layout, lock), layout.release(used)
            stack.stop_all(release)
            stack.compose(release, "stop")
    return DONE


def _launch(layout: Layout, asked: argparse.Namespace) -> int:
    with alone(layout, LOOKS_SECONDS):
        # whoever is busy says so here, where somebody listens
        pass
    id = new_id(asked.kind)
    options = ["--id", id, "--wait", str(asked.wait), "--smoke", str(asked.smoke)]
    options += ["--irreversible"] if asked.irreversible else []
    given = [asked.kind, *([asked.release] if asked.release else []), "--root", str(layout.root), *options]
    launch(layout, id, [sys.executable, str(Path(__file__).resolve()), *given])
    sys.stdout.write(f"{id}\n")
    return DONE


def _follow(layout: Layout, asked: argparse.Namespace) -> int:
    return follow(layout, asked.id, asked.line)


def _status(layout: Layout, asked: argparse.Namespace) -> int:
    lines, well = stand(layout, Stack(layout), asked.json)
    sys.stdout.write("\n".join(lines) + "\n")
    return DONE if well else FAILED


def _logs(layout: Layout, asked: argparse.Namespace) -> int:
    if (used := layout.current_id()) is None:
        raise DeployError("no release is in use; `make deploy-pi` brings one")
    stack, release = Stack(layout), layout.release(used)
    words = stack.words(release, "logs", "--tail", str(asked.tail), *(["--follow"] if asked.follow else []))
    words += asked.service
    return subprocess.run(words, env={**os.environ, **stack.environment(release)}, check=False).returncode


def _fail(text: str, code: int) -> int:
    sys.stderr.write(f"autotrader: {text}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", default=str(DEFAULT_ROOT), help="the folder of the releases")
    waiting = argparse.ArgumentParser(add_help=False, parents=[common])
    waiting.add_argument("--wait", type=int, default=WAIT_SECONDS, help="seconds until all has to be healthy")
    switching = argparse.ArgumentParser(add_help=False, parents=[waiting])
    switching.add_argument("--id", default="", help="of the deployment; one is made otherwise")
    switching.add_argument("--smoke", type=int, default=SMOKE_SECONDS, help="seconds for each part of the smoke test")
    switching.add_argument("--irreversible", action="store_true", help="also with migrations that have no way back")
    parser = argparse.ArgumentParser(prog="switch.py", description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, parent: argparse.ArgumentParser, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[parent], help=text)

    one = command("deploy", switching, "switch to a release that was sent here")
    one.add_argument("release")
    one.set_defaults(do=_switch, kind="deploy")
    one = command("rollback", switching, "switch to an older release, by default the one before")
    one.add_argument("release", nargs="?", default="")
    one.set_defaults(do=_switch, kind="rollback")
    one = command("launch", switching, "begin either so that it goes on without this connection; prints its id")
    one.add_argument("kind", choices=("deploy", "rollback"))
    one.add_argument("release", nargs="?", default="")
    one.set_defaults(do=_launch)
    one = command("follow", common, "print what a deployment says until it ends")
    one.add_argument("id")
    one.add_argument("--line", type=int, default=0, help="how many lines are known already")
    one.set_defaults(do=_follow)
    command("recover", waiting, "finish what was cut off; at boot, before `up`").set_defaults(do=_recover)
    command("up", waiting, "start the release in use").set_defaults(do=_up)
    command("down", common, "stop the release in use").set_defaults(do=_down)
    one = command("status", common, "what runs, since when, and how the last deployment ended")
    one.add_argument("--json", action="store_true")
    one.set_defaults(do=_status)
    one = command("logs", common, "the logs of the containers")
    one.add_argument("service", nargs="*")
    one.add_argument("--tail", type=int, default=200)
    one.add_argument("--follow", action="store_true")
    one.set_defaults(do=_logs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
