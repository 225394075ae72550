"""What provisioning writes: it adds to what is there, twice is as good as once, and what it cannot read it leaves."""

from __future__ import annotations

import json
import re

import pytest

from deploy.pi.provision_files import UNITS, docker_settings, kernel_line, ssh_ports, template, unit
from deploy.pi.provision_probe import CannotProvision, Machine, check, parse_target, warnings

LINE = "console=serial0,115200 console=tty1 root=PARTUUID=2b7a-02 rootfstype=ext4 rootwait\n"
PI = {
    "uid": "1000",
    "user": "pi",
    "systemd": "systemd",
    "os": "debian",
    "version": "13",
    "sudo": "yes",
    "machine": "aarch64",
    "model": "Raspberry Pi 5 Model B Rev 1.0",
    "memory": "8000000",
    "root_disk": "/dev/nvme0n1p2",
    "root_options": "rw,noatime",
    "watchdog": "yes",
}


def test_the_memory_cgroup_is_added_to_the_one_line_once() -> None:
    once = kernel_line(LINE)
    assert once == LINE.strip() + " cgroup_enable=memory\n"
    assert kernel_line(once) == once
    assert "cgroup_disable=memory" not in kernel_line(LINE.replace("rootwait", "cgroup_disable=memory rootwait"))


@pytest.mark.parametrize("broken", ["", "rootwait\n", LINE + "console=tty1\n"])
def test_a_line_that_would_not_boot_is_not_written_back(broken: str) -> None:
    with pytest.raises(CannotProvision, match="not one line with root="):
        kernel_line(broken)


def test_other_settings_of_docker_stay() -> None:
    merged = json.loads(docker_settings('{"data-root": "/mnt/ssd/docker", "live-restore": false}'))
    assert merged["data-root"] == "/mnt/ssd/docker"
    assert merged["live-restore"] is True
    assert docker_settings(docker_settings(None)) == docker_settings(None) == docker_settings("")


@pytest.mark.parametrize("broken", ["{", "[]", "nonsense"])
def test_settings_of_docker_that_cannot_be_read_are_not_overwritten(broken: str) -> None:
    with pytest.raises(CannotProvision, match=r"daemon\.json"):
        docker_settings(broken)


def test_the_port_one_came_by_stays_open() -> None:
    assert ssh_ports("2222") == "22, 2222"
    assert "tcp dport { 22, 2222, 80, 443 } accept" in template("firewall.nft", SSH_PORTS=ssh_ports("2222"))
    assert ssh_ports("22") == ssh_ports("") == "22"


def test_units_are_for_the_folder_and_the_user_that_deploys() -> None:
    text = unit("autotrader-stack.service", "/srv/trader", "pi").text
    assert "/opt/autotrader" not in text
    assert "p=/srv/trader/current/deploy/pi/switch.py" in text
    assert "exec /usr/bin/python3 $$p up --root /srv/trader'" in text
    assert "\nUser=pi\n" in text


def test_a_machine_as_it_should_be_is_taken_without_a_word() -> None:
    target = parse_target("pi@raspberrypi.local", "", "", "")
    check(Machine(PI), target)
    assert warnings(Machine(PI)) == []
    found = warnings(
        Machine({**PI, "machine": "armv7l", "root_disk": "/dev/mmcblk0p2", "root_options": "rw", "watchdog": ""})
    )
    assert [re.findall("64-bit|card|noatime|watchdog", line)[0] for line in found] == [
        "64-bit",
        "card",
        "noatime",
        "watchdog",
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"os": "ubuntu", "version": "24.04"}, "Debian 13 or 12"),
        ({"version": "11"}, "Debian 13 or 12"),
        ({"version": "12"}, "docker compose"),
        ({"sudo": ""}, "sudo without a password"),
        ({"systemd": "init"}, "systemd"),
    ],
)
def test_another_machine_is_refused_with_the_reason(said: dict[str, str], reason: str) -> None:
    with pytest.raises(CannotProvision, match=reason):
        check(Machine({**PI, **said}), parse_target("pi@host", "", "", ""))


@pytest.mark.parametrize("name", [unit.name for unit in sorted(UNITS.glob("*.service")) if "venv" in unit.read_text()])
def test_every_process_is_watched_bounded_and_started_again(name: str) -> None:
    lines = (UNITS / name).read_text().splitlines()
    for line in ("Type=notify", "WatchdogSec=90", "Restart=always", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert line in lines
    assert any(line.startswith("MemoryMax=") for line in lines)
    assert any(line.startswith("After=") and "time-sync.target" in line and "redis" in line for line in lines)
