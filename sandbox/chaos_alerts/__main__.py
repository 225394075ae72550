"""`python -m sandbox.chaos_alerts --alerts N --seed S`: no alert is lost and every count is exact, or exit code 1."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL
from typing import Any

import redis

from sandbox.chaos_alerts.check import Verdict, judge, read_journal
from sandbox.client import SandboxControl, SandboxError, announced_url
from sandbox.local import LocalRedis
from sandbox.local.death import die_with_parent
from sandbox.processes import ProcessFailed, ProcessGroup

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "1000000001:token-of-the-alert-chaos"
CHAT = "2002"
PREFIX = "autotrader:alerts:"
RECORDERS, SENDERS = 3, 2
PER_FINGERPRINT = 4
READY_SECONDS = 60.0
SETTLE_SECONDS = 120.0
# A killed recorder needs a second or two to go on, so a run has no more such kills than this.
ALERTS_PER_KILL = 15
# Short, so that a fingerprint has many alerts, each with a count that an edit shows.
WINDOW_SECONDS = 5
TELEGRAM_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "throttle", "retry_after": 1, "count": 1},
    {"kind": "error", "status": 500, "count": 2},
    {"kind": "error", "status": 502, "count": 1},
    {"kind": "html", "count": 1},
    {"kind": "close", "count": 2},
    {"kind": "hang", "seconds": 2, "count": 1},
)


class Recorder:
    """A process that records its share of the alerts, and goes on with the next one after it was killed."""

    def __init__(self, directory: Path, name: str, plan: dict[str, Any], env: dict[str, str]) -> None:
        self._plan, self._journal = directory / f"{name}.json", directory / f"{name}.journal"
        self._plan.write_text(json.dumps(plan))
        self._env = env
        self.fingerprints: list[str] = plan["fingerprints"]
        self.process = self._start(0)

    def ended(self) -> bool:
        return self.process.poll() == 0

    def revive(self) -> None:
        """Go on after the last one that was begun."""
        done, perhaps, _ = self.read()
        self.process = self._start(max(done | perhaps, default=-1) + 1)

    def got_on(self) -> bool:
        """Whether it has recorded anything since it was started last."""
        return len(self.read()[0]) > self._done_before

    def read(self) -> tuple[set[int], set[int], int]:
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        return read_journal(lines)

    def _start(self, first: int) -> subprocess.Popen[bytes]:
        self._done_before = len(self.read()[0])
        argv = ["sandbox.chaos_alerts.recorder", str(self._plan), str(self._journal), str(first)]
        return start(argv, self._env)


def start(module: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process of ours that dies with us."""
    return subprocess.Popen(
        [sys.executable, "-m", *module],
        env=env,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(SIGKILL),
    )


class Chaos:
    """One run. `kills` counts what was done to whom."""

    def __init__(
        self, server: LocalRedis, control: SandboxControl, env: dict[str, str], dice: random.Random, most: int
    ) -> None:
        self._most = most
        self._server = server
        self._control = control
        self._env = env
        self._dice = dice
        self._senders = [self._sender() for _ in range(SENDERS)]
        self.done: Counter[str] = Counter()

    def run(self, recorders: Sequence[Recorder]) -> None:
        """Strike until everything is recorded, and a while longer."""
        strikes = {
            self._kill_a_sender: 3,
            self._kill_who_sends: 1,
            self._kill_a_recorder: 4,
            self._telegram_fails: 4,
            self._restart_redis: 1,
        }
        while not all(recorder.ended() for recorder in recorders):
            time.sleep(self._dice.uniform(0.1, 0.8))
            [strike] = self._dice.choices(list(strikes), list(strikes.values()))
            strike(recorders)

    def keep_on(self, recorders: Sequence[Recorder], seconds: float) -> None:
        """Strike at the senders and at Telegram while the counts are shown."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(self._dice.uniform(0.5, 2))
            self._dice.choice([self._kill_a_sender, self._telegram_fails])(recorders)

    def stop(self) -> None:
        """End the senders."""
        for sender in self._senders:
            sender.kill()
            sender.wait()

    def _sender(self) -> subprocess.Popen[bytes]:
        return start(["sandbox.chaos_alerts.sender"], self._env)

    def _kill_a_sender(self, _: Sequence[Recorder]) -> None:
        self._kill(self._dice.randrange(SENDERS))

    def _kill(self, number: int) -> None:
        self._senders[number].kill()
        self._senders[number].wait()
        self._senders[number] = self._sender()
        self.done["senders killed"] += 1

    def _kill_who_sends(self, _: Sequence[Recorder]) -> None:
        """Between the request and its answer: the message arrives, and is sent again by the next sender."""
        self._control.post(
            "faults", {"service": "telegram", "kind": "slow", "path": "/sendMessage", "seconds": 1, "count": SENDERS}
        )
        time.sleep(0.7)
        for number in range(SENDERS):
            self._kill(number)

    def _kill_a_recorder(self, recorders: Sequence[Recorder]) -> None:
        recorder = self._dice.choice(recorders)
        if self.done["recorders killed"] < self._most and recorder.process.poll() is None and recorder.got_on():
            recorder.process.kill()
            recorder.process.wait()
            recorder.revive()
            self.done["recorders killed"] += 1

    def _telegram_fails(self, _: Sequence[Recorder]) -> None:
        fault = self._dice.choice(TELEGRAM_FAULTS)
        path = self._dice.choice(("/sendMessage", "/editMessageText"))
        self._control.post("faults", {"service": "telegram", "path": path, **fault})
        self.done["Telegram faults"] += 1

    def _restart_redis(self, _: Sequence[Recorder]) -> None:
        self._server.stop(abruptly=self._dice.random() < 0.5)
        time.sleep(self._dice.uniform(0.1, 1.5))
        self._server.start()
        self.done["Redis restarts"] += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chaos and print the verdict."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.chaos_alerts", description=__doc__)
    parser.add_argument("--alerts", type=int, default=1000, help="occurrences to record, at least 20")
    parser.add_argument("--seed", type=int, help="repeats the strikes of a run, if not their timing")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    started = time.monotonic()
    try:
        verdict, done = run(max(options.alerts, 20), random.Random(seed))
    except (ProcessFailed, SandboxError) as error:
        sys.stderr.write(f"chaos-alerts: {error}\n")
        return 1
    struck = ", ".join(f"{count} {what}" for what, count in sorted(done.items()))
    sys.stdout.write(f"{verdict} seed={seed} seconds={time.monotonic() - started:.0f}\n  {struck}\n")
    for line in verdict.wrong[:20]:
        sys.stdout.write(f"  {line}\n")
    return 0 if verdict.good else 1


def run(alerts: int, dice: random.Random) -> tuple[Verdict, Counter[str]]:
    """Record so many alerts under fire; returns what came of them and what was done. Raises `ProcessFailed`."""
    recording = max(4.0, alerts / 25)
    with LocalRedis(persist=True) as server, tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        env = environment(server.url, directory)
        with ProcessGroup(directory) as group:
            group.start("sandbox", [sys.executable, "-m", "sandbox", "--port", "0"], env=env, cwd=ROOT)
            url = group.wait_for_line("sandbox", announced_url, READY_SECONDS).rstrip("/")
            env["TELEGRAM_BASE_URL"] = f"{url}/telegram"
            control = SandboxControl(url)
            recorders = [
                Recorder(directory, f"recorder-{number}", share, env)
                for number, share in enumerate(plans(alerts, dice, server.url, directory, recording))
            ]
            chaos = Chaos(server, control, env, dice, max(alerts // ALERTS_PER_KILL, 1))
            try:
                chaos.run(recorders)
                chaos.keep_on(recorders, WINDOW_SECONDS + 2.0)
                control.delete("faults")
                settle(server.url, directory)
            finally:
                chaos.stop()
                for recorder in recorders:
                    recorder.process.kill()
                    recorder.process.wait()
            return evidence(recorders, control, server.url), chaos.done


def plans(alerts: int, dice: random.Random, redis_url: str, directory: Path, recording: float) -> list[dict[str, Any]]:
    """What each recorder is to record: all of them record all fingerprints, in an order of chance."""
    fingerprints = [f"f{number % max(alerts // PER_FINGERPRINT, 1)}" for number in range(alerts)]
    dice.shuffle(fingerprints)
    shares = [fingerprints[number::RECORDERS] for number in range(RECORDERS)]
    common = {"redis_url": redis_url, "spool": str(directory / "spool"), "window": WINDOW_SECONDS}
    return [
        {**common, "name": f"r{number}", "pause": recording / len(share), "fingerprints": share}
        for number, share in enumerate(shares)
    ]


def environment(redis_url: str, directory: Path) -> dict[str, str]:
    """What the processes are told."""
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": redis_url,
        "TELEGRAM_TOKEN": TOKEN,
        "TELEGRAM_CHAT_ID": CHAT,
        "ALERT_SPOOL_DIR": str(directory / "spool"),
        "BEAT_SILENT_SECONDS": "3600",
        "DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
    }


def settle(redis_url: str, directory: Path) -> None:
    """Wait until nothing is spooled, waits, is being sent or is to be edited. Raises `ProcessFailed`."""
    deadline = time.monotonic() + SETTLE_SECONDS
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        while True:
            left = client.zcard(f"{PREFIX}inflight")
            for key in client.scan_iter(f"{PREFIX}ready:*"):
                left += client.zcard(key)
            left += len(list((directory / "spool").glob("*"))) if (directory / "spool").is_dir() else 0
            if not left:
                return
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{left} alerts still wait after {SETTLE_SECONDS:g} s")
            time.sleep(0.5)


def evidence(recorders: Sequence[Recorder], control: SandboxControl, redis_url: str) -> Verdict:
    """What was recorded, and what arrived."""
    certain, perhaps, lost = Counter[str](), Counter[str](), 0
    for recorder in recorders:
        done, begun, given_up = recorder.read()
        certain.update(recorder.fingerprints[number] for number in done)
        perhaps.update(recorder.fingerprints[number] for number in begun)
        lost += given_up
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        dead = int(client.zcard(f"{PREFIX}dead"))
    texts = [message["text"] for message in control.get("telegram/messages")]
    return judge(certain, perhaps, lost, texts, dead)


if __name__ == "__main__":
    sys.exit(main())
