"""The items of a provisioned machine, in their order, as operations of pyinfra: each changes what is not so yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from pyinfra.api import State
from pyinfra.api.operation import add_op
from pyinfra.operations import apt, files, server, systemd

from deploy.pi.provision_files import (
    File,
    docker_settings,
    kernel_line,
    ssh_ports,
    template,
    unit,
)
from deploy.pi.provision_packages import PACKAGES
from deploy.pi.provision_probe import CMDLINE, Machine

# of the image, too: what a container writes into a folder of the machine then has a name there
USER_ID = 10_001
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may be chosen."""

    root: str
    # who deploys: the stack's files are theirs
    user: str
    journal: str = "persistent"


@dataclass(slots=True)
class Items:
    """The operations, in their order; `causes` are those of an item that is only done when one of them changed."""

    state: State
    causes: dict[str, list[Any]] = field(default_factory=dict)
    metas: dict[str, Any] = field(default_factory=dict)

    def add(self, title: str, operation: Callable[..., Any], **arguments: Any) -> Any:
        """Add one; returns what tells later whether it changed anything."""
        (meta,) = add_op(self.state, operation, name=title, **arguments).values()
        self.metas[title] = meta
        return meta

    def add_if(self, title: str, causes: Sequence[Any], operation: Callable[..., Any], **arguments: Any) -> Any:
        """Add one that follows from others."""
        self.causes[title] = list(causes)
        return self.add(title, operation, _if=lambda: any(cause.did_change() for cause in causes), **arguments)

    def put(self, file: File, mode: str = "644") -> Any:
        """Write a file."""
        owner = {} if file.path == CMDLINE else {"user": "root", "group": "root", "mode": mode}
        return self.add(file.title, files.put, src=StringIO(file.text), dest=file.path, create_remote_dir=True, **owner)


def add_items(state: State, machine: Machine, wanted: Wanted) -> Items:
    """All items. Raises `CannotProvision` for a file there that cannot be added to."""
    items = Items(state)
    _packages(items, machine)
    _clock(items)
    _memory(items, machine)
    _watchdog_and_journal(items, wanted)
    _docker(items, machine)
    _doors(items, machine)
    _place(items, machine, wanted)
    _units(items, wanted)
    return items


def _packages(items: Items, machine: Machine) -> None:
    # Docker's own packages are kept where they are installed, and know `docker compose` already
    docker = ("docker.io", "docker-cli", "docker-compose", "containerd", "runc")
    keep = machine["docker_ce"] == "yes" or (machine["version"] == "12" and machine["compose"] == "yes")
    wanted = [name for name in PACKAGES if not (keep and name in docker)]
    missing = [name for name in wanted if name not in machine["installed"].split()]
    if missing:
        items.add("the list of packages", apt.update)
    items.add(f"packages: {' '.join(wanted)}", apt.packages, packages=wanted, no_recommends=True)
    upgrades = File("security updates by themselves", "/etc/apt/apt.conf.d/52autotrader", template("upgrades.conf"))
    items.put(upgrades)
    items.add("unattended-upgrades runs", systemd.service, service="unattended-upgrades", running=True, enabled=True)


def _clock(items: Items) -> None:
    items.add("chrony keeps the time", systemd.service, service="chrony", running=True, enabled=True)
    # not started now: it waits until the clock is right
    items.add("the start waits for the time", systemd.service, service="chrony-wait", running=None, enabled=True)


def _memory(items: Items, machine: Machine) -> None:
    if (line := machine.content("cmdline")) is not None:
        items.put(File("memory limits of containers (cmdline.txt)", CMDLINE, kernel_line(line)))
    if machine["rpi_swap"]:
        items.put(File("swap on zram", "/etc/rpi/swap.conf.d/50-autotrader.conf", template("rpi-swap.conf")))
    else:
        items.put(File("swap on zram", "/etc/systemd/zram-generator.conf", template("zram.conf")))
    if machine["dphys_swapfile"]:
        items.add("no swap on the card", systemd.service, service="dphys-swapfile", running=False, enabled=False)
    path = "/etc/sysctl.d/90-autotrader.conf"
    kernel = items.put(File("memory settings of the kernel", path, template("sysctl.conf")))
    items.add_if("the kernel takes them over", [kernel], systemd.service, service="systemd-sysctl", restarted=True)


def _watchdog_and_journal(items: Items, wanted: Wanted) -> None:
    path = "/etc/systemd/system.conf.d/autotrader.conf"
    watchdog = items.put(File("hardware watchdog, 14 s", path, template("watchdog.conf")))
    items.add_if("systemd takes it over", [watchdog], server.shell, commands=["systemctl daemon-reexec"])
    text = template("journald.conf", JOURNAL=wanted.journal)
    path = "/etc/systemd/journald.conf.d/autotrader.conf"
    journal = items.put(File(f"journal: {wanted.journal}, 200 MB", path, text))
    items.add_if("journald takes it over", [journal], systemd.service, service="systemd-journald", restarted=True)


def _docker(items: Items, machine: Machine) -> None:
    text = docker_settings(machine.content("daemon"))
    settings = items.put(File("Docker: bounded logs, containers outlive it", "/etc/docker/daemon.json", text))
    text = template("docker-after-clock.conf")
    path = "/etc/systemd/system/docker.service.d/autotrader.conf"
    after = items.put(File("Docker starts after the clock is right", path, text))
    items.add("Docker runs", systemd.service, service="docker", running=True, enabled=True)
    items.add_if(
        "Docker takes them over", [settings, after], systemd.service,
        service="docker", restarted=True, daemon_reload=True,
    )  # fmt: skip


def _doors(items: Items, machine: Machine) -> None:
    ports = ssh_ports(machine["ssh_port"])
    title = f"firewall: ssh ({ports}), 80 and 443 only"
    rules = items.put(File(title, "/etc/autotrader/firewall.nft", template("firewall.nft", SSH_PORTS=ports)))
    service = items.put(unit("autotrader-firewall.service", "", ""))
    items.add_if("systemd knows the firewall", [service], systemd.daemon_reload)
    items.add("the firewall is up", systemd.service, service="autotrader-firewall", running=True, enabled=True)
    # rules of nftables.service would begin with throwing away Docker's
    items.add("nftables.service is off", systemd.service, service="nftables", running=False, enabled=False)
    items.add_if(
        "the firewall takes them over", [rules, service], systemd.service, service="autotrader-firewall", reloaded=True
    )
    text = template("fail2ban.conf", SSH_PORTS=ports.replace(" ", ""))
    jail = items.put(File("fail2ban for ssh", "/etc/fail2ban/jail.d/autotrader.conf", text))
    items.add("fail2ban runs", systemd.service, service="fail2ban", running=True, enabled=True)
    items.add_if("fail2ban takes it over", [jail], systemd.service, service="fail2ban", restarted=True)


def _place(items: Items, machine: Machine, wanted: Wanted) -> None:
    if not machine["has_user"]:
        items.add("group autotrader", server.group, group="autotrader", gid=USER_ID, system=True)
        items.add(
            "user autotrader", server.user,
            user="autotrader", uid=USER_ID, group="autotrader", system=True, home="/var/lib/autotrader",
            shell="/usr/sbin/nologin", ensure_home=False,
        )  # fmt: skip
    if wanted.user != "root" and "docker" not in machine["groups"].split():
        title = f"{wanted.user} may use Docker"
        items.add(title, server.user, user=wanted.user, groups=["docker"], append=True, ensure_home=False)
    folders = {"": "755", "releases": "755", "shared": "750", "backups": "750", "state": "755"}
    for name, mode in folders.items():
        path = f"{wanted.root}/{name}".rstrip("/")
        group = "root" if wanted.user == "root" else machine["group"]
        items.add(f"folder {path}", files.directory, path=path, user=wanted.user, group=group, mode=mode)


def _units(items: Items, wanted: Wanted) -> None:
    names = ("autotrader-stack.service", "autotrader-backup.service", "autotrader-backup.timer")
    written = [items.put(unit(name, wanted.root, wanted.user)) for name in names]
    items.add_if("systemd knows the units", written, systemd.daemon_reload)
    # it brings up the release in use, at the next boot; until there is one it does nothing
    items.add("the stack starts at boot", systemd.service, service="autotrader-stack", running=None, enabled=True)
    items.add("backups by timer", systemd.service, service="autotrader-backup.timer", running=True, enabled=True)
