"""Replies that no venue documents: good ones spoilt by a seeded generator, and a server that sends them.

The server stands in front of the sandbox. Each lane is a base URL of its own, and serves one case at a time: what was
recorded of the sandbox, with the reply at one path spoilt.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import aiohttp
from aiohttp import web
from yarl import URL

RAW = "@raw@"
DEEP = 20_000
HTML = "<!DOCTYPE html><html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"
# what names a row
NAMES = frozenset({"pdno", "odno", "ord_dt", "bass_dt", "stck_bsop_date", "stck_cntg_hour"})
# how often a field that the client reads is chosen rather than any
READ_SHARE = 0.75

Place: TypeAlias = "tuple[dict[str, Any] | list[Any], str | int]"


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; `cut` breaks the connection before its last bytes."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json; charset=utf-8"})
    cut: bool = False


NOT_RECORDED = Reply(404, b"", {"Content-Type": "text/html"})

# what takes the place of a value, as JSON text
VALUES = {
    "null": "null",
    "true": "true",
    "a number": "7",
    "zero": "0",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "text NaN": '"NaN"',
    "text sNaN": '"sNaN"',
    "text Infinity": '"-Infinity"',
    "a negative number": "-12.5",
    "negative text": '"-12.5"',
    "a huge number": "1e400",
    "huge text": '"1e400"',
    "a number beyond Decimal": "1e99999999999999999999",
    "400 digits": "9" * 400,
    "5000 digits": "9" * 5000,
    "400 digits of text": f'"{"9" * 400}"',
    "empty text": '""',
    "blank text": '"   "',
    "an unknown word": '"exploded"',
    "a lone surrogate": r'"\ud800"',
    "a line break": r'"good\r\nx-evil: 1"',
    "a zero byte": r'"\u0000"',
    "other digits": '"١٢٣"',
    "an empty list": "[]",
    "an empty object": "{}",
    "nested garbage": '[{"a": [null, {"b": "c"}]}, 3]',
    "a deep list": "[" * DEEP + "]" * DEEP,
    "a list in a list in a list": "[" * 200 + "]" * 200,
}
TIMES = (
    (re.compile(r"\d{8}"), ("29990101", "00010101", "99991231", "20251399")),
    (re.compile(r"\d{6}"), ("256199", "999999", "")),
    (
        re.compile(r"\d{4}-\d\d-\d\d[T ].*"),
        (
            "2999-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01 00:00:00",
            "9999-12-31 23:59:59", "2025-13-01T00:00:00", "2025-02-30T25:00:00", "yesterday",
            "2099-12-31T23:59:59",
        ),
    ),
)  # fmt: skip
OTHERS = (
    (re.compile(r"KRW-[A-Z]+"), ("KRW-ETH", "USDT-BTC", "BTC")),
    (re.compile(r"\d{6}"), ("000660",)),
    (re.compile(r"[A-Z]{3}"), ("ETH", "JPY")),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}"), ("78162304-1a4d-4524-b9e6-c9a9e14d76c3",)),
    (re.compile(r"\d{10}"), ("9999999999", "0000000000", "12345", "123456789012345")),
    (re.compile(r"[a-z_]+"), ("wait", "done", "bid", "buy", "too_many_requests")),
    (re.compile(r"\d"), ("0", "1", "7", "9")),
    (re.compile(r"[YN]"), ("y", "X")),
)


def spoil(good: Reply, chance: random.Random, read: Collection[str]) -> tuple[str, Reply]:
    """A spoilt `good` and what was done to it. `read` are the names of the fields that the client reads."""
    if chance.random() < 0.3:
        name = chance.choice(list(_BODIES))
        return name, _BODIES[name](good, chance)
    name = chance.choice([*_SHAPES, *["a field"] * 2 * len(_SHAPES)])
    document = json.loads(good.body)
    if name in _SHAPES:
        raw = _SHAPES[name](document, chance, read)
    else:
        name, raw = _field(document, chance, read)
    text = json.dumps(document, ensure_ascii=False)
    return name, replace(good, body=text.replace(f'"{RAW}"', raw).encode("utf-8", "surrogatepass"))


def _field(document: Any, chance: random.Random, read: Collection[str]) -> tuple[str, str]:
    """Put another value in one place; its name, and the JSON text for it."""
    holder, key = _place(document, chance, read)
    value, name = _get(holder, key), chance.choice(list(VALUES))
    raw = VALUES[name]
    for kind, candidates in (("another time", TIMES), ("another name", OTHERS)):
        fitting = [texts for pattern, texts in candidates if isinstance(value, str) and pattern.fullmatch(value)]
        if fitting and chance.random() < 0.4:
            name, raw = kind, json.dumps(chance.choice(fitting[0]))
    if isinstance(value, int) and value > 1_000_000_000 and chance.random() < 0.6:
        name, raw = "another time", chance.choice(("32472144000", "32472144000000", "-1", "1e30", str(value) + "000"))
    _set(holder, key, RAW)
    return f"{key}: {name}", raw


def _dropped(document: Any, chance: random.Random, read: Collection[str]) -> str:
    holder, key = _place(document, chance, read)
    del holder[key]  # type: ignore[arg-type]
    return ""


def _key_twice(document: Any, chance: random.Random, read: Collection[str]) -> str:
    """One key with two values that differ, each of which could be true."""
    holder, key = _place(document, chance, read)
    if not isinstance(holder, dict) or holder.get(str(key)) is document:
        return ""
    value = _get(holder, key)
    _set(holder, key, RAW)
    first = json.dumps(value, ensure_ascii=False)
    second = json.dumps(_nearly(value), ensure_ascii=False)
    return f"{first}, {json.dumps(key)}: {second}"


def _row_twice(document: Any, chance: random.Random, _: Collection[str]) -> str:
    rows = _rows(document)
    if rows:
        rows.insert(chance.randint(0, len(rows)), json.loads(json.dumps(chance.choice(rows))))
    return ""


def _row_twice_but_not_equal(document: Any, chance: random.Random, read: Collection[str]) -> str:
    rows = _rows(document)
    if rows and isinstance(rows[0], dict):
        row = json.loads(json.dumps(chance.choice(rows)))
        # with another name it would be another row
        wanted = [name for name in row if name in read and name not in NAMES]
        names = [name for name in wanted if re.fullmatch(r"-?[\d.]+", str(row[name]))]
        if names:
            name = chance.choice(names)
            row[name] = _nearly(row[name])
            rows.insert(chance.randint(0, len(rows)), row)
    return ""


def _shuffled(document: Any, chance: random.Random, _: Collection[str]) -> str:
    chance.shuffle(_rows(document))
    return ""


def _emptied(document: Any, _: random.Random, __: Collection[str]) -> str:
    _rows(document).clear()
    return ""


_SHAPES: dict[str, Callable[[Any, random.Random, Collection[str]], str]] = {
    "a field dropped": _dropped,
    "a key twice": _key_twice,
    "a row twice": _row_twice,
    "a row twice, but not equal": _row_twice_but_not_equal,
    "rows in another order": _shuffled,
    "no rows": _emptied,
}


def _whole(make: Callable[[bytes, random.Random], bytes]) -> Callable[[Reply, random.Random], Reply]:
    return lambda good, chance: replace(good, body=make(good.body, chance))


def _with_status(*statuses: int) -> Callable[[Reply, random.Random], Reply]:
    return lambda good, chance: replace(good, status=chance.choice([one for one in statuses if one != good.status]))


def _with_header(name: str, value: str) -> Callable[[Reply, random.Random], Reply]:
    return lambda good, _: replace(good, headers={**good.headers, name: value})


def _bad_bytes(body: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(body))
    wrong = chance.choice((b"\xff\xfe", b"\xc3", b"\x00", "한".encode("euc-kr"), b"\xed\xa0\x80"))
    return body[:at] + wrong + body[at:]


_BODIES: dict[str, Callable[[Reply, random.Random], Reply]] = {
    "truncated": _whole(lambda body, chance: body[: chance.randrange(len(body))]),
    "HTML": lambda good, _: Reply(good.status, HTML.encode(), {"Content-Type": "text/html"}),
    "HTML that says JSON": _whole(lambda _, __: HTML.encode()),
    "text": _whole(lambda _, __: b"Too many users, please wait."),
    "an empty body": _whole(lambda _, __: b""),
    "a scalar": _whole(lambda _, chance: chance.choice((b"null", b"0", b'"ok"', b"true", b"NaN"))),
    "an empty container": _whole(lambda _, chance: chance.choice((b"{}", b"[]", b"[[]]", b"[{}]", b"[null]"))),
    "only depth": _whole(lambda _, chance: chance.choice((b"[", b'{"output":')) * DEEP),
    "in a list": _whole(lambda body, _: b"[" + body + b"]"),
    "in an object": _whole(lambda body, _: b'{"data": ' + body + b"}"),
    "twice": _whole(lambda body, _: body + body),
    "with a word behind": _whole(lambda body, _: body + b" ok"),
    "with a guard before": _whole(lambda body, _: b")]}'\n" + body),
    "as text in JSON": _whole(lambda body, _: json.dumps(body.decode()).encode()),
    "with single quotes": _whole(lambda body, _: body.replace(b'"', b"'")),
    "wrong bytes": _whole(_bad_bytes),
    "UTF-16": _whole(lambda body, _: body.decode().encode("utf-16")),
    "a byte order mark": _whole(lambda body, _: b"\xef\xbb\xbf" + body),
    "a wrong content type": _with_header("Content-Type", "text/html; charset=iso-8859-1"),
    "an unknown charset": _with_header("Content-Type", "application/json; charset=klingon"),
    "no gzip, though it says so": _with_header("Content-Encoding", "gzip"),
    "an unknown coding": _with_header("Content-Encoding", "rot13"),
    "a status of the server": _with_status(500, 502, 503, 599),
    "a status of the client": _with_status(402, 405, 409, 410, 451),
    "a redirect": _with_status(301, 302, 307),
    "no content": _with_status(204, 304),
    "cut": lambda good, chance: replace(good, body=good.body[: chance.randrange(len(good.body))], cut=True),
}


def _place(document: Any, chance: random.Random, read: Collection[str]) -> Place:
    """A random place in the document, one that the client reads rather than any other."""
    holder: Any = {"": document}
    key: str | int = ""
    while True:
        value = holder[key]
        if not value or not isinstance(value, dict | list) or (value is not document and chance.random() < 0.1):
            # the whole document is for the bodies
            return ({"": document}, "") if holder is None else (holder, key)
        holder = value
        if isinstance(value, list):
            key = chance.choice((0, 0, len(value) - 1, chance.randrange(len(value))))
        else:
            wanted = [name for name in value if name in read or isinstance(value[name], dict | list)]
            key = chance.choice(wanted if wanted and chance.random() < READ_SHARE else list(value))


def _rows(document: Any) -> list[Any]:
    """The longest list of the document."""
    if isinstance(document, list):
        return document
    found: list[list[Any]] = []
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            found.append(value)
        elif isinstance(value, dict):
            waiting += value.values()
    return max(found, key=len, default=[])


def _nearly(value: Any) -> Any:
    """Another value that could be as true."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return str(int(value) + 1).zfill(len(value)) if value.isdecimal() else f"{value}1"
    return value


def _get(holder: Any, key: str | int) -> Any:
    return holder[key]


def _set(holder: Any, key: str | int, value: Any) -> None:
    holder[key] = value


@dataclass(slots=True)
class Lane:
    """One base URL: while `spoilt` is None what is asked for is recorded, then `spoilt` is the reply at `target`."""

    target: tuple[str, str] = ("", "")
    spoilt: Reply | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def hits(self) -> int:
        """How often the target was asked for."""
        return self.asked.count(self.target)


class MalformedVenue:
    """`/LANE/…` of this server is `/…` of the one at `upstream`, recorded and then spoilt."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.url = ""
        self.lanes: dict[str, Lane] = {}
        self.good: dict[tuple[str, str], Reply] = {}
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession

    def lane(self, name: str) -> Lane:
        """The lane at `url/NAME`."""
        return self.lanes.setdefault(name, Lane())

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application()
        app.router.add_route("*", "/{lane}/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        lane = self.lanes[request.match_info["lane"]]
        asked = (request.method, f"/{request.match_info['path']}")
        lane.asked.append(asked)
        if lane.spoilt is None:
            reply = await self._recorded(request, asked)
        else:
            # what only the failure of the target made a client ask for, nobody recorded
            reply = lane.spoilt if asked == lane.target else self.good.get(asked, NOT_RECORDED)
        if not reply.cut:
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        half = web.StreamResponse(status=reply.status, headers=reply.headers)
        half.content_length = len(reply.body) + 100
        await half.prepare(request)
        await half.write(reply.body)
        if request.transport is not None:
            request.transport.close()
        return half

    async def _recorded(self, request: web.Request, asked: tuple[str, str]) -> Reply:
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Accept-Encoding")}
        url = self.upstream + request.raw_path.removeprefix(f"/{request.match_info['lane']}")
        async with self._session.request(
            request.method, URL(url, encoded=True), headers=headers, data=await request.read()
        ) as reply:
            kept = {name: value for name, value in reply.headers.items() if name in ("Content-Type", "Set-Cookie")}
            self.good[asked] = Reply(reply.status, await reply.read(), kept)
        return self.good[asked]
