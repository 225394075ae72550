"""`make screenshots`: the pictures of docs/images, taken of the running system at the sandbox's venues."""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import io
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sandbox.browser import BrowserError, Page, browser
from sandbox.client import SandboxError
from sandbox.desk_shots import SHOTS, sign_in
from sandbox.desk_shots import take as take_desk
from sandbox.feeds import FeedError
from sandbox.local import LocalServerError
from sandbox.processes import ProcessFailed, ProcessGroup
from sandbox.specimens.arrival import ERROR_CHAT, TRADE_CHAT, NotArrived, everything_told
from sandbox.stack import ROOT, Options, Stack, StackError
from settings import MARKETS

IMAGES = ROOT / "docs" / "images"
WIDTH = 1360
HIGHEST = 1500
MOST_BYTES = 300_000
COLUMNS = 4
HIGHEST_CHAT = 3_000
# pages of text and two charts need no more
COLOURS = 256
WORK_SECONDS = 120.0
# what the accounts were worth is noted with each sweep
CURVE_SECONDS = 150.0
SEED = 7

ANALYSIS = "tasks.analysis.analyze_and_trade"
# a symbol whose venue does not answer, so that a failure is to be seen as well
FAILING = "KRW-XRP"
FAILED, SUCCEEDED = "FAILURE", "SUCCESS"

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NothingToShow(Exception):
    """The system did not come to what the pictures are to show; one line."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: the page, and the JavaScript that is true once it shows what it is for. `colours` is how many are
    kept of it, 0 for all."""

    name: str
    url: str
    shows: str
    login: str = ""
    highest: int = HIGHEST
    colours: int = 0


def shots(stack: Stack, tasks: Mapping[str, Mapping[str, Any]]) -> list[Shot]:
    """The pictures there are to take, when `tasks` have run."""
    flower, login = stack.flower_url, stack.flower_login
    shows = "document.body.innerText.includes('{}')".format
    done = next(task for task, seen in tasks.items() if (seen["name"], seen["state"]) == (ANALYSIS, SUCCEEDED))
    failed = next(task for task, seen in tasks.items() if (seen["name"], seen["state"]) == (ANALYSIS, FAILED))
    rows = "document.querySelectorAll('table tbody tr').length"
    return [
        Shot("flower-workers", f"{flower}/workers", f"{rows} >= {len(MARKETS)}", login),
        Shot("flower-tasks", f"{flower}/tasks?name={ANALYSIS}", f"{rows} >= 8", login, 760),
        Shot("flower-task", f"{flower}/task/{done}", shows(done), login),
        # not its traceback, which names the folders of the machine the picture is taken on
        Shot(
            "flower-task-failed",
            f"{flower}/task/{failed}",
            shows(failed),
            login,
            1_020,
        ),
        Shot("telegram-sandbox", f"{stack.sandbox_url}/", shows("분석"), highest=1_800),
    ]


def finished(stack: Stack) -> Mapping[str, Mapping[str, Any]]:
    """Flower's tasks, once every market has analyses and one of them has failed. Raises `NothingToShow`."""
    deadline = time.monotonic() + WORK_SECONDS
    wanted = {f"{market}@": SUCCEEDED for market in MARKETS}
    while time.monotonic() < deadline:
        stack.group.check()
        tasks = _tasks(stack)
        analyses = [task for task in tasks.values() if task.get("name") == ANALYSIS]
        seen = {(str(task.get("worker")).partition("@")[0] + "@", task["state"]) for task in analyses}
        if set(wanted.items()) <= seen and any(state == FAILED for _, state in seen):
            return tasks
        time.sleep(1)
    raise NothingToShow(f"not every market had an analysis within {WORK_SECONDS:g} s")


def _tasks(stack: Stack) -> dict[str, dict[str, Any]]:
    request = urllib.request.Request(f"{stack.flower_url}/api/tasks")
    request.add_header("Authorization", "Basic " + base64.b64encode(stack.flower_login.encode()).decode())
    try:
        with _DIRECT.open(request, timeout=10) as reply:
            tasks: dict[str, dict[str, Any]] = json.load(reply)
            return tasks
    except (OSError, http.client.HTTPException) as error:
        raise NothingToShow(f"Flower does not answer: {error}") from None


async def take(page: Page, shot: Shot) -> bytes:
    """Take one picture. Raises `BrowserError`."""
    await page.open(shot.url, width=WIDTH, login=shot.login)
    await page.wait_for(f"document.readyState === 'complete' && {shot.shows}")
    # Flower's tables measure their columns while they are empty
    adjust = "window.$?.fn?.dataTable?.tables({api: true}).columns.adjust()"
    await page.send("Runtime.evaluate", expression=adjust)
    await page.wait_for("document.fonts.status === 'loaded'")
    await asyncio.sleep(1)
    # a traceback names the folders of the machine the picture is taken on
    masked = f"pre.textContent = pre.textContent.replaceAll({json.dumps(str(ROOT))}, '/app')"
    await page.send("Runtime.evaluate", expression=f"document.querySelectorAll('.text pre').forEach(pre => {masked})")
    picture = await page.picture(width=WIDTH, highest=shot.highest)
    return _reduced(picture, shot.colours) if shot.colours else picture


def _reduced(picture: bytes, colours: int) -> bytes:
    reduced = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            reduced, "PNG", optimize=True
        )
    return reduced.getvalue()


async def messages() -> None:
    """Take a picture of each chat with a message of each kind. Raises `NotArrived` and what `take` and `keep` do."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        with ProcessGroup(scratch) as group:
            async with everything_told(scratch) as sandbox, browser(group, scratch / "chromium") as page:
                planned = [
                    Shot(
                        name,
                        f"{sandbox.url}/chats?columns={COLUMNS}&chat={chat}",
                        "[...document.images].every(image => image.complete) && document.querySelector('.bubble')",
                        highest=HIGHEST_CHAT,
                        colours=COLOURS,
                    )
                    for name, chat in (("telegram-messages", TRADE_CHAT), ("telegram-errors", ERROR_CHAT))
                ]
                keep(planned, [await take(page, shot) for shot in planned])


def main(arguments: Sequence[str] | None = None) -> int:
    """Take all pictures; 1 with one line if that fails."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.screenshots", description=__doc__)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--messages", action="store_true", help="only the ones of the messages, which need no workers")
    only.add_argument("--desk", action="store_true", help="only the ones of the operator's desk")
    options = parser.parse_args(arguments)
    try:
        if not options.desk:
            asyncio.run(messages())
        if options.messages:
            return 0
        # often enough for a curve of the accounts while somebody waits
        often = {f"{market.upper()}_SWEEP_MINUTES": "1" for market in MARKETS}
        with Stack(Options(feed="simulated", seed=SEED, fail=(FAILING,), env=often), _tell) as stack:
            tasks = finished(stack)
            asyncio.run(_take_all(stack, [] if options.desk else shots(stack, tasks)))
    except (
        BrowserError,
        NotArrived,
        NothingToShow,
        SandboxError,
        FeedError,
        LocalServerError,
        ProcessFailed,
        StackError,
    ) as error:
        _tell(f"screenshots: {error}")
        return 1
    return 0


async def _take_all(stack: Stack, planned: Sequence[Shot]) -> None:
    async with browser(stack.group, stack.scratch / "chromium") as page:
        keep(planned, [await take(page, shot) for shot in planned])
        await asyncio.sleep(CURVE_SECONDS)
        stack.group.check()
        await sign_in(page, stack)
        for shot in SHOTS:
            keep([Shot(shot.name, shot.path, shot.shows)], [await take_desk(page, stack, shot)])


def keep(planned: Sequence[Shot], pictures: Sequence[bytes]) -> None:
    """Write the pictures; none may be larger than a page of documentation bears. Raises `NothingToShow`."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for shot, picture in zip(planned, pictures, strict=True):
        if len(picture) > MOST_BYTES:
            raise NothingToShow(f"{shot.name} is {len(picture):,} bytes, more than {MOST_BYTES:,}")
        file = IMAGES / f"{shot.name}.png"
        file.write_bytes(picture)
        _tell(f"{file.relative_to(ROOT)}: {len(picture):,} bytes")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
