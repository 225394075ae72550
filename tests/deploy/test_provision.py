"""A machine is made ready by `make provision-pi`, stays so over a power cut, and its units do what they promise.

On a fake Pi: real apt, systemd, sshd, nftables, chrony and fail2ban, without a Pi's boot partition and watchdog device.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fakepi
import pytest
from engine import ROOT, Engine
from fakepi import FakePi

UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
PROCESSES = [unit.stem for unit in UNITS if ".venv/bin/autotrader" in unit.read_text()]
IMAGE = "autotrader-fakepi:app"
# of a Pi 5 with Raspberry Pi OS
CMDLINE = "console=serial0,115200 console=tty1 root=PARTUUID=2b7a-02 rootfstype=ext4 fsck.repair=yes rootwait\n"
SECONDS = 120.0


@pytest.fixture(scope="module")
def pi(engine: Engine, base_images: dict[str, str], say: Callable[[str], None]) -> Iterator[FakePi]:
    """A fake Pi that has the boot partition of a real one."""
    say("building the fake Pi")
    machine = FakePi(engine, fakepi.build_image(engine))
    try:
        machine.create()
        machine.exec("mkdir", "-p", "/boot/firmware")
        machine.exec("tee", "/boot/firmware/cmdline.txt", stdin=CMDLINE)
        yield machine
    finally:
        machine.remove()


@pytest.fixture(scope="module")
def bare(engine: Engine, base_images: dict[str, str], app_image: str) -> Iterator[FakePi]:
    """One that has the program itself, and the units of its processes: a machine without Docker."""
    stages = f"FROM {fakepi.build_image(engine)}\nCOPY --from={app_image} /opt/autotrader /opt/autotrader\n"
    stages += "RUN ln -s venv /opt/autotrader/.venv && useradd --system --home-dir /var/lib/autotrader autotrader\n"
    engine.docker("build", "--tag", IMAGE, "-", stdin=stages, timeout=900)
    machine = FakePi(engine, IMAGE)
    try:
        machine.create()
        for unit in UNITS:
            machine.exec("tee", f"/etc/systemd/system/{unit.name}", stdin=unit.read_text())
        machine.exec("systemctl", "daemon-reload")
        yield machine
    finally:
        machine.remove()


def provision(pi: FakePi, *arguments: str, user: str = "pi", port: int = 0) -> subprocess.CompletedProcess[str]:
    """What `make provision-pi` runs."""
    known = f"-o UserKnownHostsFile={pi.known_hosts}"
    given = ["--port", str(port or pi.port), "--key", str(pi.key), "--ssh-options", known, "--root", str(pi.root)]
    command = [sys.executable, "deploy/pi/provision.py", f"{user}@{pi.host}", *given, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def first_run(pi: FakePi, say: Callable[[str], None]) -> str:
    """What the first run said."""
    begun = time.monotonic()
    done = provision(pi)
    assert done.returncode == 0, done.stdout + done.stderr
    say(f"provisioned in {time.monotonic() - begun:.0f} s:\n{done.stdout.rstrip()}")
    return done.stdout


def test_a_dry_run_says_what_it_would_change_and_changes_nothing(pi: FakePi) -> None:
    before = pi.exec("sh", "-c", "dpkg -l | md5sum; find /etc /boot -type f | sort | xargs md5sum | md5sum")
    done = provision(pi, "--dry")
    assert done.returncode == 0, done.stderr
    for item in ("packages: docker.io", "firewall: ssh (22), 80 and 443 only", "memory limits of containers"):
        assert f"would change  {item}" in done.stdout
    assert pi.exec("sh", "-c", "dpkg -l | md5sum; find /etc /boot -type f | sort | xargs md5sum | md5sum") == before


@pytest.mark.parametrize(
    ("spoil", "heal", "says"),
    [
        ("sed -i s/NOPASSWD/PASSWD/ /etc/sudoers.d/010_pi-nopasswd", "", "may not use sudo without a password"),
        ("echo ID=ubuntu > /etc/os-release", "", "Debian 13 or 12, or Raspberry Pi OS of these, is needed"),
        ("echo '{\"log-driver\": ' > /etc/docker/daemon.json", "rm /etc/docker/daemon.json", "daemon.json is no JSON"),
        ("echo rootwait > /boot/firmware/cmdline.txt", "", "cmdline.txt is not one line with root= in it"),
    ],
)
def test_a_machine_it_is_not_made_for_is_left_alone_with_the_reason(
    pi: FakePi, spoil: str, heal: str, says: str
) -> None:
    file = spoil.split()[-1]
    target = pi.exec(
        "sh", "-c", f"mkdir -p /etc/docker; readlink -f {file}; cp -L {file} /root/kept 2>/dev/null || true"
    )
    pi.exec("sh", "-c", spoil)
    try:
        done = provision(pi)
        assert done.returncode == 1
        assert done.stderr.startswith("provision: ")
        assert says in done.stderr
        assert "changed" not in done.stdout
    finally:
        pi.exec("sh", "-c", heal or f"cat /root/kept > {target}")


def test_an_unreachable_machine_is_told_with_what_to_do(pi: FakePi) -> None:
    nobody, stranger = provision(pi, port=1), provision(pi, user="stranger")
    assert (nobody.returncode, stranger.returncode) == (1, 1)
    assert "Connection refused" in nobody.stderr
    assert "PI_PORT" in nobody.stderr
    assert "ssh-copy-id" in stranger.stderr


def test_the_first_run_lists_its_changes_and_the_second_changes_nothing(pi: FakePi, first_run: str) -> None:
    assert "  changed  packages: docker.io" in first_run
    assert "restart it once, for the memory limits" in first_run
    again = provision(pi)
    assert again.returncode == 0, again.stderr
    assert re.search(r"^changed nothing: all \d+ items are so already$", again.stdout, re.MULTILINE), again.stdout
    assert "  changed  " not in again.stdout
    assert "would change nothing" in provision(pi, "--dry").stdout


def test_the_line_of_the_kernel_is_added_to_once(pi: FakePi, first_run: str) -> None:
    assert pi.exec("cat", "/boot/firmware/cmdline.txt") == f"{CMDLINE.strip()} cgroup_enable=memory"


def test_folders_user_and_settings_are_there(pi: FakePi, first_run: str) -> None:
    modes = pi.exec("stat", "-c", "%a %U %n", *(f"{pi.root}/{name}" for name in ("releases", "shared", "backups")))
    assert [line.rsplit("/", 1)[0].split()[:2] for line in modes.splitlines()] == [
        ["755", "pi"],
        ["750", "pi"],
        ["750", "pi"],
    ]
    assert pi.exec("id", "-u", "autotrader") == "10001"
    assert '"live-restore": true' in pi.exec("cat", "/etc/docker/daemon.json")
    assert "RuntimeWatchdogUSec=14s" in pi.exec("systemctl", "show", "--property=RuntimeWatchdogUSec")
    assert pi.exec("fail2ban-client", "get", "sshd", "maxretry") == "6"


# a network outside, one of containers behind a bridge, and ports published as Docker does it
NETWORKS = """
ip netns add outside; ip netns add box
ip link add out0 type veth peer name eth0 netns outside
ip link add br-test type bridge
ip link add box0 type veth peer name eth0 netns box
ip link set box0 master br-test
ip addr add 10.99.0.1/24 dev out0; ip addr add 10.98.0.1/24 dev br-test
ip link set out0 up; ip link set br-test up; ip link set box0 up
for net in "outside 10.99.0" "box 10.98.0"; do set -- $net
  ip -n $1 addr add $2.2/24 dev eth0; ip -n $1 link set eth0 up; ip -n $1 link set lo up
  ip -n $1 route add default via $2.1
done
nft add table ip fakedocker
nft add chain ip fakedocker pre '{ type nat hook prerouting priority dstnat; }'
nft add rule ip fakedocker pre iifname out0 tcp dport 80 dnat to 10.98.0.2:8080
nft add rule ip fakedocker pre iifname out0 tcp dport 5432 dnat to 10.98.0.2:5432
mkdir -p /srv/empty
for serve in "box 8080" "box 5432" "outside 9000"; do set -- $serve
  systemd-run -q ip netns exec $1 python3 -m http.server -d /srv/empty $2
done
systemd-run -q python3 -m http.server -d /srv/empty 9999
"""


def _reaches(pi: FakePi, network: str, address: str, patience: float = 3) -> bool:
    port = address.rpartition(":")
    script = f"timeout {patience:g} bash -c 'exec 3<>/dev/tcp/{port[0]}/{port[2]}'"
    return pi.exec("sh", "-c", f"ip netns exec {network} {script} >/dev/null 2>&1 && echo yes || echo no") == "yes"


def test_only_ssh_and_the_web_are_reached_from_outside_even_of_what_docker_publishes(
    pi: FakePi, first_run: str
) -> None:
    pi.exec("bash", "-ec", NETWORKS)
    until = time.monotonic() + SECONDS
    while not _reaches(pi, "box", "127.0.0.1:5432") or not _reaches(pi, "outside", "10.99.0.1:80"):
        assert time.monotonic() < until, "the servers behind the ports did not start"
    assert _reaches(pi, "outside", "10.99.0.1:22")
    assert _reaches(pi, "box", "10.99.0.2:9000"), "containers must reach the world"
    assert not _reaches(pi, "outside", "10.99.0.1:5432")
    assert not _reaches(pi, "outside", "10.99.0.1:9999")
    # it was the firewall that kept them out
    pi.exec("systemctl", "stop", "autotrader-firewall")
    assert _reaches(pi, "outside", "10.99.0.1:5432")
    assert _reaches(pi, "outside", "10.99.0.1:9999")
    pi.exec("systemctl", "start", "autotrader-firewall")
    assert not _reaches(pi, "outside", "10.99.0.1:5432")


# stands for a release: it notes what the unit asks of it, and whether the clock was right by then
SWITCH = """
import pathlib, subprocess, sys
synchronised = subprocess.run(["chronyc", "waitsync", "1", "0.1"], capture_output=True).returncode == 0
with open(pathlib.Path(sys.argv[3]) / "state" / "asked", "a") as file:
    print(sys.argv[1], "clock right" if synchronised else "clock unknown", file=file)
"""


def test_a_power_cut_leaves_it_as_it_was_and_the_stack_starts_after_the_clock(pi: FakePi, first_run: str) -> None:
    scripts = f"{pi.root}/releases/20260131T120000Z-1a2b3c4/deploy/pi"
    pi.ssh(f"mkdir -p {scripts} && ln -s releases/20260131T120000Z-1a2b3c4 {pi.root}/current")
    pi.ssh(f"cat > {scripts}/switch.py", stdin=SWITCH)
    asked = f"{pi.root}/state/asked"
    pi.power_cut()
    pi.boot()
    assert pi.exec("systemctl", "is-system-running") == "running", pi.exec("systemctl", "--failed")
    assert "tcp dport { 22, 80, 443 } accept" in pi.exec("nft", "list", "table", "inet", "autotrader")
    for unit in ("autotrader-stack", "autotrader-firewall", "fail2ban", "chrony-wait", "autotrader-backup.timer"):
        assert pi.exec("systemctl", "is-active", unit) == "active"
    assert pi.exec("cat", asked).splitlines() == ["recover clock right", "up clock right"]
    pi.reboot()
    assert pi.exec("cat", asked).splitlines()[2:] == ["down clock right", "recover clock right", "up clock right"]
    assert "changed nothing" in provision(pi).stdout


def test_every_unit_is_understood_by_systemd(bare: FakePi) -> None:
    names = " ".join(unit.name for unit in UNITS)
    said = bare.exec("sh", "-c", f"cd /etc/systemd/system && systemd-analyze verify --man=no {names} 2>&1; true")
    # the program of the firewall comes with provisioning
    assert [line for line in said.splitlines() if "/usr/sbin/nft is not executable" not in line] == []


def test_the_processes_keep_few_rights(bare: FakePi, say: Callable[[str], None]) -> None:
    for name in PROCESSES:
        said = bare.exec("sh", "-c", f"systemd-analyze security --no-pager {name} | tail -1")
        say(said)
        assert float(re.findall(r": ([\d.]+)", said)[0]) < 3.0


# blocks the loop of the worker that runs here once a file says so: the fault that no exception reports
BLOCK = """
import gc, pathlib, threading, time

def block():
    while not pathlib.Path("/var/lib/autotrader/block").exists():
        time.sleep(0.2)
    pathlib.Path("/var/lib/autotrader/block").unlink()
    from workers.loop import LoopThread
    # what a process has at its start is set aside from the collector, and then not listed
    gc.unfreeze()
    for loop in [found for found in gc.get_objects() if type(found) is LoopThread]:
        loop._loop.call_soon_threadsafe(time.sleep, 3600)

threading.Thread(target=block, daemon=True).start()
"""
DROPIN = """
[Service]
WatchdogSec=15
Environment=PYTHONPATH=/srv/fault WATCHDOG_SECONDS=60
ExecStart=
ExecStart=/opt/autotrader/.venv/bin/autotrader worker upbit
"""


@pytest.fixture
def stores(engine: Engine, base_images: dict[str, str]) -> Iterator[dict[str, str]]:
    """Redis and PostgreSQL in containers, as settings."""
    of = {image.partition(":")[0]: image for image in base_images}
    secret = ["--env", "POSTGRES_PASSWORD=of-the-test", "--env", "POSTGRES_USER=autotrader"]
    made = [
        engine.docker("run", "--detach", "--rm", of["redis"], "redis-server", "--protected-mode", "no"),
        engine.docker("run", "--detach", "--rm", *secret, of["postgres"], "postgres"),
    ]
    try:
        redis, postgres = (
            engine.docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", container) for container in made
        )
        yield {
            "REDIS_URL": f"redis://{redis}:6379/0",
            "DATABASE_URL": f"postgresql+asyncpg://autotrader:of-the-test@{postgres}:5432/autotrader",
        }
    finally:
        engine.docker("rm", "--force", "--volumes", *made)


def test_a_worker_whose_loop_is_stuck_is_ended_by_systemd_and_started_again(
    bare: FakePi, stores: dict[str, str], say: Callable[[str], None]
) -> None:
    unit = "autotrader-worker-upbit.service"
    settings = {
        **stores,
        "UPBIT_SYMBOLS": "KRW-BTC",
        "KIS_SYMBOLS": "",
        "YFINANCE_SYMBOLS": "",
        "TELEGRAM_ENABLED": "false",
    }
    bare.exec("tee", "/opt/autotrader/.env", stdin="".join(f"{name}={value}\n" for name, value in settings.items()))
    bare.exec("mkdir", "-p", "/srv/fault", f"/etc/systemd/system/{unit}.d")
    bare.exec("tee", "/srv/fault/sitecustomize.py", stdin=BLOCK)
    bare.exec("tee", f"/etc/systemd/system/{unit}.d/test.conf", stdin=DROPIN)
    bare.exec("systemctl", "daemon-reload")
    migrate = "for i in $(seq 60); do /opt/autotrader/.venv/bin/autotrader migrate && exit 0; sleep 1; done; exit 1"
    bare.exec("sh", "-c", f"cd /opt/autotrader && {migrate}")
    # returns when the worker has said that it is ready
    bare.exec("systemctl", "start", unit, timeout=240)
    assert bare.shown(unit, "ActiveState") == "active"
    assert bare.shown(unit, "NRestarts") == "0"
    assert bare.shown(unit, "MemoryMax") == str(320 * 2**20)
    first = bare.shown(unit, "MainPID")
    bare.exec("touch", "/var/lib/autotrader/block")
    begun = time.monotonic()
    while bare.shown(unit, "NRestarts") == "0" or bare.shown(unit, "ActiveState") != "active":
        assert time.monotonic() - begun < 2 * SECONDS, bare.journal(unit)[-3000:]
        time.sleep(1)
    say(f"the stuck worker was at work again after {time.monotonic() - begun:.0f} s")
    assert bare.shown(unit, "NRestarts") == "1"
    assert bare.shown(unit, "MainPID") != first
    journal = bare.journal(unit)
    assert "Watchdog timeout (limit 15s)" in journal
    assert "has not turned for" in journal or "Failed with result 'watchdog'" in journal
    bare.exec("systemctl", "stop", unit)
    assert bare.shown(unit, "Result") == "success"


def test_the_list_of_units_has_every_process() -> None:
    workers = {f"autotrader-worker-{market}" for market in ("upbit", "kis", "yfinance")}
    others = {f"autotrader-{name}" for name in ("beat", "notifier", "api", "flower")}
    assert set(PROCESSES) == workers | others | {"autotrader"}
    assert Path(UNITS[0]).is_file()
