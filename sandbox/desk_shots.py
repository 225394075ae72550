"""The pictures of the desk: what an operator's browser shows on a desktop and on a phone, in light and dark."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass

from PIL import Image

from sandbox.browser import Page
from sandbox.stack import Stack

DESKTOP, PHONE = 1180, 375
COLOURS = 256
LARGEST_BYTES = 280_000
COMPLETE = "document.readyState === 'complete' && document.fonts.status === 'loaded'"


@dataclass(frozen=True, slots=True)
class DeskShot:
    """One picture: `path` is a page, or JavaScript on the first page that says which; `highest` is in points."""

    name: str
    path: str
    shows: str
    phone: bool = False
    dark: bool = False
    highest: int = 1_500


# a decision to buy or sell has more to show
NEWEST = "document.querySelector('a.analysis:has(.badge.buy, .badge.sell), a.analysis').getAttribute('href')"

SHOTS = (
    DeskShot("desk", "/?days=1", "document.querySelectorAll('a.analysis').length >= 6", highest=1_460),
    DeskShot("desk-analysis", NEWEST, "document.querySelector('.legend')", highest=1_250),
    DeskShot("desk-phone", NEWEST, "document.querySelector('.legend')", phone=True, dark=True, highest=1_150),
    DeskShot("desk-phone-orders", "/desk/orders", "document.querySelector('table.rows tr')", phone=True, highest=1_000),
)


async def sign_in(page: Page, stack: Stack) -> None:
    """Give the token to the form, as a person does. Raises `BrowserError`."""
    await page.open(f"{stack.api_url}/", width=DESKTOP)
    await page.wait_for(f"{COMPLETE} && document.querySelector('[name=token]')")
    typed = f"document.querySelector('[name=token]').value = {json.dumps(stack.api_token)}"
    await page.send("Runtime.evaluate", expression=f"{typed}; document.querySelector('main form').requestSubmit()")
    await page.wait_for("document.querySelector('nav')")


async def take(page: Page, stack: Stack, shot: DeskShot) -> bytes:
    """Take one picture of the desk, which is signed in to. Raises `BrowserError`."""
    path = shot.path
    if not path.startswith("/"):
        await page.open(f"{stack.api_url}/", width=DESKTOP)
        await page.wait_for(f"{COMPLETE} && document.querySelector('a.analysis')")
        found = await page.send("Runtime.evaluate", expression=path, returnByValue=True)
        path = str(found["result"]["value"])
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if shot.dark else "light"}]
    await page.send("Emulation.setEmulatedMedia", features=scheme)
    width = PHONE if shot.phone else DESKTOP
    await page.open(f"{stack.api_url}{path}", width=width, phone=shot.phone)
    await page.wait_for(f"{COMPLETE} && {shot.shows}")
    await asyncio.sleep(0.5)
    return _reduced(await page.picture(width=width, highest=shot.highest))


def _reduced(picture: bytes) -> bytes:
    """With all its colours, so that the small dots of a legend keep theirs; a picture that is too large for that with
    the ones that are furthest apart, rather than those that most of it has."""
    with Image.open(io.BytesIO(picture)) as image:
        whole = image.convert("RGB")
    packed = _png(whole)
    if len(packed) <= LARGEST_BYTES:
        return packed
    return _png(whole.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE))


def _png(image: Image.Image) -> bytes:
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    return packed.getvalue()
