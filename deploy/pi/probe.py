"""What a machine is like, as JSON. Sent to it as text and run there by its own python3, before anything else is there.

python3 - ROOT < probe.py
"""

import fcntl
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path


def said(*words: str) -> tuple[int, str]:
    """Exit code and text of a command; 127 where there is none."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, type(error).__name__
    return done.returncode, (done.stdout.strip() or done.stderr.strip())[:500]


def text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def free_at(path: str) -> int:
    """Bytes free where a folder is, or will be; 0 where that cannot be told."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return 0


def has_memory_cgroup() -> bool:
    if controllers := text_of("/sys/fs/cgroup/cgroup.controllers"):
        return "memory" in controllers.split()
    rows = [line.split() for line in text_of("/proc/cgroups").splitlines() if line.startswith("memory")]
    return bool(rows) and rows[0][-1] == "1"


def clock() -> str:
    """yes, no, or "" where nobody knows."""
    code, told = said("timedatectl", "show", "--property", "NTPSynchronized", "--value")
    if code == 0 and told == "yes":
        return told
    code_of_chrony, tracking = said("chronyc", "-n", "tracking")
    if code_of_chrony == 0:
        return "no" if "Not synchronised" in tracking else "yes"
    return told if code == 0 else ""


def memory() -> int:
    rows = [line.split() for line in text_of("/proc/meminfo").splitlines() if line.startswith("MemAvailable")]
    return int(rows[0][1]) * 1024 if rows else 0


def is_busy(root: Path) -> bool:
    """Whether a deployment is under way."""
    try:
        handle = os.open(root / "state" / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def was_cut_off(root: Path) -> bool:
    """Whether a deployment waits to be brought to its end, whose containers may run."""
    try:
        return bool(json.loads(text_of(str(root / "state" / "deploy.json")))["phase"] != "ended")
    except (ValueError, KeyError, TypeError):
        return False


def taken(root: Path) -> list[int]:
    """The ports of nginx that somebody has; asked only while no release of this folder can have them."""
    env = dict(line.split("=", 1) for line in text_of(str(root / "shared" / ".env")).splitlines() if "=" in line)
    ports = [env.get("HTTP_PORT", "80").strip(), env.get("HTTPS_PORT", "443").strip()]
    found = []
    for port in ports:
        with socket.socket() as asking:
            asking.settimeout(2)
            if port.isdigit() and asking.connect_ex(("127.0.0.1", int(port))) == 0:
                found.append(int(port))
    return found


def main(root: Path) -> dict[str, object]:
    docker_code, docker = said("docker", "version", "--format", "{{.Server.Version}}")
    _, docker_root = said("docker", "info", "--format", "{{.DockerRootDir}}")
    compose_code, compose = said("docker", "compose", "version", "--short")
    current = root / "current"
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": list(sys.version_info[:2]),
        "page_size": os.sysconf("SC_PAGE_SIZE"),
        "memory_cgroup": has_memory_cgroup(),
        "memory_free": memory(),
        "disk_free": free_at(str(root)),
        "docker_disk_free": free_at(docker_root) if docker_root.startswith("/") else 0,
        "clock": clock(),
        "time": time.time(),
        "docker": docker if docker_code == 0 else "",
        "docker_says": "" if docker_code == 0 else docker,
        "compose": compose if compose_code == 0 else "",
        "root_writable": root.is_dir() and os.access(root, os.W_OK | os.X_OK),
        "user": os.environ.get("USER", ""),
        "env": (root / "shared" / ".env").is_file(),
        "busy": is_busy(root),
        "current": Path(os.readlink(current)).name if current.is_symlink() else "",
        "ports_taken": [] if current.is_symlink() or was_cut_off(root) else taken(root),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")
