"""Pictures of web pages, by a Chromium without a window that is spoken to over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.processes import ProcessGroup

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 30.0
PAGE_SECONDS = 30.0
_LISTENING = re.compile(r"DevTools listening on (ws://\S+)")


class BrowserError(Exception):
    """There is no Chromium, or a page does not show what was waited for; one line."""


class Page:
    """One tab. `send` is a command of the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self._socket = socket
        self._session = session
        self._ids = itertools.count(1000)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result. Raises `BrowserError`."""
        return await _call(self._socket, next(self._ids), method, params, self._session)

    async def open(self, url: str, *, width: int, login: str = "", phone: bool = False) -> None:
        """Go to `url`, as `login` (user:password) if there is one; the address bar never sees it. A phone has two
        pixels for each point."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        authorization = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
        await self.send("Network.enable")
        await self.send("Network.setExtraHTTPHeaders", headers=authorization)
        await self.send("Page.navigate", url=url)

    async def wait_for(self, condition: str) -> None:
        """Return when the JavaScript expression is true. Raises `BrowserError`."""
        for _ in range(int(PAGE_SECONDS / 0.2)):
            result = await self.send("Runtime.evaluate", expression=f"Boolean({condition})", returnByValue=True)
            if result.get("result", {}).get("value") is True:
                return
            await asyncio.sleep(0.2)
        raise BrowserError(f"the page did not show {condition} within {PAGE_SECONDS:g} s")

    async def picture(self, *, width: int, highest: int) -> bytes:
        """The page as PNG, as high as it is but at most `highest`."""
        size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": width, "height": min(size["height"], highest), "scale": 1}
        shot = await self.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def browser(group: ProcessGroup, profile: Path) -> AsyncIterator[Page]:
    """A tab of a new Chromium, which ends with `group`. Raises `BrowserError` or `ProcessFailed`."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise BrowserError(f"none of {', '.join(PROGRAMS)} is installed; on Debian: apt-get install chromium")
    argv = [program, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}", "--no-first-run"]
    argv += ["--hide-scrollbars", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"]
    if os.geteuid() == 0:
        # Chromium's own sandbox refuses to run as root; only pages of this machine are opened
        argv.append("--no-sandbox")
    group.start("chromium", [*argv, "about:blank"], env={**os.environ, "LANG": "ko_KR.UTF-8"}, stage=9)
    address = await asyncio.to_thread(group.wait_for_line, "chromium", _address, START_SECONDS)
    async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
        target = await _call(socket, 1, "Target.createTarget", {"url": "about:blank"})
        attached = await _call(socket, 2, "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        yield Page(socket, attached["sessionId"])


def _address(line: str) -> str | None:
    found = _LISTENING.search(line)
    return found[1] if found else None


async def _call(
    socket: aiohttp.ClientWebSocketResponse, number: int, method: str, params: dict[str, Any], session: str = ""
) -> dict[str, Any]:
    await socket.send_json(
        {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
    )
    async with asyncio.timeout(PAGE_SECONDS):
        while True:
            reply = await socket.receive_json()
            if reply.get("id") == number:
                break
    if "error" in reply:
        raise BrowserError(f"{method}: {reply['error'].get('message')}")
    result: dict[str, Any] = reply["result"]
    return result
