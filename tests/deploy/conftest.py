"""Tests of the deployment: real containers on a real Docker engine. `make test-deploy` runs them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import images
import pytest
from engine import ROOT, Engine, NoEngine, classic_builder, find, find_compose
from stack import Stack, sweep_up

NOT_TESTED = 77
"""The exit status that says that this machine can run no containers."""

APP_IMAGE = "autotrader:test"
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Images are made within the time of the first test that asks for them."""
    for item in items:
        if _HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Tell what is being done, at once and whatever pytest captures, with the seconds since the session's start."""
    begun = time.monotonic()
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    terminal = pytestconfig.pluginmanager.getplugin("terminalreporter")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            for part in line.splitlines():
                terminal.write_line(f"  [{time.monotonic() - begun:5.0f} s] {part}", flush=True)

    return write


@pytest.fixture(scope="session")
def engine(say: Callable[[str], None]) -> Iterator[Engine]:
    """The Docker engine that answers here, or one that is started for this session, with `docker compose`."""
    try:
        found, daemon = find(say)
    except NoEngine as reason:
        pytest.exit(f"NOT TESTED: the deployment, since {reason}", returncode=NOT_TESTED)
    try:
        classic_builder(found)
        yield found
    finally:
        if daemon is not None:
            say("stopping the dockerd of this run")
            daemon.stop()


@pytest.fixture(scope="session")
def base_images(engine: Engine, say: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """The images that deploy/compose*.yaml ask for, by name: `official`, `stand-in`, or why there is none.

    With UNTAG_STAND_INS=1, as `make test-deploy` has it, a stand-in has the official name only for this session.
    """
    try:
        found = images.provide(engine, say)
    except NoEngine as reason:
        pytest.exit(f"NOT TESTED: the deployment, since {reason}", returncode=NOT_TESTED)
    find_compose(engine, images.BASE, say)
    # also for the tests of the compose files, which come after these and ask the same program
    os.environ.update({name: engine.environment[name] for name in ("DOCKER_CONFIG",) if name in engine.environment})
    for image, what in found.items():
        say(f"image {image}: {what}")
    yield found
    if os.environ.get("UNTAG_STAND_INS") == "1":
        images.untag(engine)


@pytest.fixture(scope="session")
def app_image(engine: Engine, base_images: dict[str, str], say: Callable[[str], None]) -> str:
    """The tag of the image that deploy/Dockerfile makes of this tree; with APP_IMAGE=TAG, of one that exists."""
    if given := os.environ.get("APP_IMAGE"):
        say(f"testing {given}, as APP_IMAGE says")
        return given
    begun = time.monotonic()
    say("building deploy/Dockerfile")
    # sessions side by side: the second finds the layers of the first
    with images.one_at_a_time("app"):
        engine.run(
            "docker", "build", "--quiet", "--network", "host", "--build-arg", f"BASE={images.BASE}",
            "--tag", APP_IMAGE, "--file", str(ROOT / "deploy" / "Dockerfile"), str(ROOT), timeout=1800,
        )  # fmt: skip
    size = int(engine.docker("image", "inspect", "--format", "{{.Size}}", APP_IMAGE)) / 2**20
    say(f"built {APP_IMAGE} in {time.monotonic() - begun:.0f} s, {size:.0f} MiB")
    return APP_IMAGE


@pytest.fixture(scope="session")
def left_behind(engine: Engine, say: Callable[[str], None]) -> None:
    """What killed sessions have left is removed before a new stack is made."""
    sweep_up(engine, say)


@pytest.fixture(scope="session")
def new_stack(
    engine: Engine,
    app_image: str,
    left_behind: None,
    say: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., AbstractContextManager[Stack]]:
    """Make a stack of deploy/compose*.yaml: `with new_stack(NAME, overlays=…, settings=…) as stack: stack.up()`."""

    @contextmanager
    def made(name: str, **options: Any) -> Iterator[Stack]:
        stack = Stack(engine, name, app_image, tmp_path_factory.mktemp(name), say, **options)
        try:
            yield stack
        finally:
            say(f"{stack.project}: removing its containers, networks and volumes")
            stack.remove()

    return made
