"""The machine that is deployed to: over the system's ssh, with one connection for all, or this one (PI=local)."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.pi.layout import DeployError

# what ssh itself ends with, whatever the command
SSH_FAILED = 255
CONNECT_SECONDS = 10
# what ssh says, and what to do
CURES = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key is not the one it had: another machine answers there, or "
     "it was set up anew. If you know why: ssh-keygen -R {host}"),
    ("Host key verification failed", "its host key is not known: ssh {to} once and compare the fingerprint"),
    ("Permission denied", "it does not let you in: ssh-copy-id {to}, or name the key with PI_KEY=~/.ssh/..."),
    ("Could not resolve hostname", "there is no such host: correct PI=user@host, or use its address"),
    ("Connection refused", "nothing listens there: is sshd on (sudo raspi-config, Interface, SSH) and PI_PORT right?"),
    ("timed out", "it does not answer: is it on, in this network, and the address right?"),
    ("No route to host", "there is no way to it: is it on, in this network, and the address right?"),
    ("Connection closed", "it closes the connection: is that its sshd, and PI_PORT right?"),
)  # fmt: skip


class Unreachable(DeployError):
    """No connection, or it was lost."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`to` is user@host, or "local" for this machine."""

    to: str
    port: str = ""
    key: str = ""
    options: tuple[str, ...] = ()
    # in a folder of our own: a socket's path must be short, and nobody else's
    sockets: str = field(default_factory=lambda: tempfile.mkdtemp(prefix="at-ssh-"))

    @property
    def is_local(self) -> bool:
        return self.to == "local"

    def command(self, words: Sequence[str]) -> list[str]:
        """The command line that runs `words` there."""
        if self.is_local:
            return list(words)
        given = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
        given += [
            "-o",
            "StrictHostKeyChecking=accept-new",
            "-o",
            "ServerAliveInterval=10",
            "-o",
            "ServerAliveCountMax=3",
        ]
        # many connections at once are refused by sshd (MaxStartups)
        given += ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", f"ControlPath={self.sockets}/%C"]
        given += ["-p", self.port] if self.port else []
        given += ["-i", str(Path(self.key).expanduser()), "-o", "IdentitiesOnly=yes"] if self.key else []
        # the first of an option counts for ssh, so what was asked for comes before
        return [given[0], *self.options, *given[1:], self.to, "--", shlex.join(words)]

    def run(
        self, words: Sequence[str], *, given: str | None = None, check: bool = True, timeout: float | None = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there; `given` is its input. Raises `Unreachable`, or `DeployError` where it fails."""
        try:
            done = subprocess.run(
                self.command(words),
                input=given or "",
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                env={**os.environ, "LC_ALL": "C"},
                check=False,
            )
        except FileNotFoundError as error:
            raise DeployError(f"{error.filename} is not installed here") from None
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{self.to}: {words[0]} does not end; is the machine well?") from None
        if not self.is_local and done.returncode == SSH_FAILED:
            raise Unreachable(self.why(done.stderr))
        if check and done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise DeployError(f"{self.to}: {words[0]} ended with {done.returncode}: {said[-2000:]}")
        return done

    def why(self, said: str) -> str:
        """What ssh said, with the cure."""
        host = self.to.rpartition("@")[2]
        for part, cure in CURES:
            if part.lower() in said.lower():
                return f"{self.to}: {cure.format(host=host, to=self.to)}"
        return f"{self.to} cannot be reached: {said.strip()[-500:] or 'ssh says nothing'}"

    def close(self) -> None:
        """End the connection that is kept."""
        if not self.is_local:
            ended = [*self.command(["true"])[:-3], "-O", "exit", self.to]
            subprocess.run(ended, capture_output=True, check=False)
        for path in Path(self.sockets).iterdir():
            path.unlink(missing_ok=True)
        Path(self.sockets).rmdir()
