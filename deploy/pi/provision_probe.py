"""What a machine is, asked over ssh before anything is changed, and whether it can be provisioned."""

from __future__ import annotations

import base64
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CONNECT_SECONDS = 15
RELEASES = {"13": "trixie", "12": "bookworm"}
ARCHITECTURES = ("aarch64", "x86_64")
# a Pi has its boot partition there; another machine has none
CMDLINE = "/boot/firmware/cmdline.txt"

# key=value lines, the contents of files in base64
SCRIPT = r"""
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
say() { printf '%s=%s\n' "$1" "$2"; }
file() { [ -e "$2" ] && say "$1" "$(base64 -w 0 < "$2")"; }
say uid "$(id -u)"
say user "$(id -un)"
say group "$(id -gn)"
say groups "$(id -Gn "$(id -un)")"
if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then say sudo yes; fi
[ -r /etc/os-release ] && . /etc/os-release
say os "$ID"
say version "$VERSION_ID"
say name "$PRETTY_NAME"
say machine "$(uname -m)"
[ -r /proc/device-tree/model ] && say model "$(tr -d '\0' < /proc/device-tree/model)"
say memory "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
say systemd "$(cat /proc/1/comm)"
say ssh_port "$(echo "$SSH_CONNECTION" | cut -d' ' -f4)"
say root_disk "$(findmnt -no SOURCE / 2>/dev/null)"
say root_options "$(findmnt -no OPTIONS / 2>/dev/null)"
[ -e /sys/fs/cgroup/cgroup.controllers ] && say controllers "$(cat /sys/fs/cgroup/cgroup.controllers)"
[ -e /dev/watchdog0 ] && say watchdog yes
[ -e /etc/rpi/swap.conf ] && say rpi_swap yes
[ -e /etc/dphys-swapfile ] && say dphys_swapfile yes
id autotrader >/dev/null 2>&1 && say has_user yes
say installed "$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | sed -n 's/^ii  *//p' | tr '\n' ' ')"
dpkg-query -W docker-ce >/dev/null 2>&1 && say docker_ce yes
docker compose version >/dev/null 2>&1 && say compose yes
file cmdline /boot/firmware/cmdline.txt
file daemon /etc/docker/daemon.json
exit 0
"""


class CannotProvision(Exception):
    """Why this machine cannot be provisioned: the fault, then the cure."""


@dataclass(frozen=True, slots=True)
class Target:
    """How the machine is reached."""

    user: str
    host: str
    # "" for what ssh's own settings say
    port: str = ""
    key: str = ""
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    def ssh(self) -> list[str]:
        """`ssh` with all options and the destination."""
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}", *self.options]
        options += ["-p", self.port] if self.port else []
        options += ["-i", self.key, "-o", "IdentitiesOnly=yes"] if self.key else []
        return ["ssh", *options, str(self)]


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found."""

    said: Mapping[str, str]

    def __getitem__(self, key: str) -> str:
        return self.said.get(key, "")

    def content(self, key: str) -> str | None:
        """The text of a file, None where it is not there."""
        return base64.b64decode(self.said[key]).decode() if key in self.said else None

    @property
    def is_root(self) -> bool:
        return self["uid"] == "0"

    def __str__(self) -> str:
        parts = [self["model"] or self["machine"], self["name"], f"{int(self['memory'] or 0) / 2**20:.1f} GiB"]
        return ", ".join(part for part in parts if part)


def parse_target(where: str, port: str, key: str, options: str) -> Target:
    """`user@host`, or `host` with the user that ssh takes. Raises `CannotProvision`."""
    user, _, host = where.rpartition("@")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._:-]*", host) or not re.fullmatch(r"([a-z_][a-z0-9_-]*)?", user):
        raise CannotProvision(f"{where!r} is no machine: say PI=user@host, such as PI=pi@raspberrypi.local")
    if port and not (port.isdecimal() and 0 < int(port) < 65_536):
        raise CannotProvision(f"PI_PORT={port} is no port: say a number, such as 22")
    path = Path(key).expanduser()
    if key and not path.is_file():
        raise CannotProvision(f"there is no key {key}: say PI_KEY=path of a private key, or leave it out for ssh's own")
    try:
        more = tuple(shlex.split(options))
    except ValueError as error:
        raise CannotProvision(f"SSH_OPTIONS cannot be read ({error}): quote it as on a command line") from None
    return Target(user, host, port, str(path) if key else "", more)


def probe(target: Target) -> Machine:
    """Ask the machine. Raises `CannotProvision` where it cannot be reached."""
    try:
        done = subprocess.run(
            [*target.ssh(), "sh -s"],
            input=SCRIPT,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=4 * CONNECT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise CannotProvision("there is no ssh on this machine; install openssh-client") from None
    except subprocess.TimeoutExpired:
        raise CannotProvision(f"{target} was reached but does not answer; is its disk full or broken?") from None
    if done.returncode:
        raise CannotProvision(_why_unreachable(target, done.stderr.strip()))
    lines = (line.partition("=") for line in done.stdout.splitlines())
    return Machine({key: value for key, sign, value in lines if sign})


def check(machine: Machine, target: Target) -> None:
    """Raises `CannotProvision` for a machine that this is not made for."""
    user = machine["user"] or target.user
    if machine["systemd"] != "systemd":
        raise CannotProvision(f"{target} does not run systemd; use Raspberry Pi OS or Debian 13")
    if machine["os"] not in ("debian", "raspbian") or machine["version"] not in RELEASES:
        what = machine["name"] or machine["os"] or "something unknown"
        raise CannotProvision(f"{target} runs {what}; Debian 13 or 12, or Raspberry Pi OS of these, is needed")
    if machine["version"] == "12" and not machine["compose"]:
        raise CannotProvision(
            f"{target} runs Debian 12, which has no `docker compose`: write Raspberry Pi OS (64-bit, Debian 13) to its "
            "card, or install Docker by https://docs.docker.com/engine/install/debian/ first"
        )
    if not machine["sudo"]:
        raise CannotProvision(
            f"{user} may not use sudo without a password on {target}; allow it there: "
            f"echo '{user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/010_{user}"
        )


def warnings(machine: Machine) -> list[str]:
    """What is not as it should be and cannot be changed from here."""
    found = []
    if machine["machine"] not in ARCHITECTURES:
        found.append(
            f"{machine['machine']} is no architecture that the image was made for (aarch64, x86_64): "
            "packages would have to be compiled; a 64-bit system is needed"
        )
    if int(machine["memory"] or 0) < 1_800_000:
        found.append("less than 2 GB of memory: leave out the monitoring, and read docs/memory.md")
    if "mmcblk" in machine["root_disk"]:
        found.append("the root file system is on a card; a database wears it out: an SSD lasts")
    if machine["root_options"] and "noatime" not in machine["root_options"].split(","):
        found.append("the root file system notes every reading: add noatime to its options in /etc/fstab")
    if machine["model"].startswith("Raspberry Pi") and not machine["watchdog"]:
        found.append("there is no /dev/watchdog0: a machine that hangs stays so (dtparam=watchdog=on in config.txt)")
    return found


def _why_unreachable(target: Target, said: str) -> str:
    last = said.splitlines()[-1] if said else "ssh ended without a word"
    port = f"-p {target.port} " if target.port else ""
    if "Permission denied" in said:
        cure = f"copy your key there first: ssh-copy-id {port}{target}, or name it: PI_KEY=~/.ssh/…"
    elif "Host key verification failed" in said or "REMOTE HOST IDENTIFICATION" in said:
        cure = f"connect once by hand and compare its key: ssh {port}{target}"
    elif "Could not resolve" in said:
        cure = "is the name right, and the machine in this network? its number does too: PI=pi@192.168.0.10"
    else:
        cure = "is it on, in this network, and ssh enabled? Another port: PI_PORT=2222"
    return f"{target} cannot be reached ({last}); {cure}"
