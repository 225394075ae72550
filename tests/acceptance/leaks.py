"""Everything that leaves the system, as text, and the search of it for secrets."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

import redis
from world import World

# users that a secret is sent with as HTTP's basic authentication
USERS = ("", "user", "autotrader")

# never through the proxy of the environment
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def forms(secret: str) -> dict[str, str]:
    """The ways a secret may be written, each by its name."""
    found = {
        "plain": secret,
        "in a path": quote(secret),
        "in a query": quote_plus(secret),
        "quoted": quote(secret, safe=""),
        "base64": base64.b64encode(secret.encode()).decode().rstrip("="),
    }
    for user in USERS:
        basic = base64.b64encode(f"{user}:{secret}".encode()).decode().rstrip("=")
        # the last character may hold bits of what is not there
        found[f"basic {user}"] = basic[:-1]
    return found


def find(places: Mapping[str, str], secrets: Mapping[str, str]) -> set[tuple[str, str, str]]:
    """(place, name of the secret, form) of every secret found; never the secret, which would leak here."""
    return {
        (place, name, form)
        for place, text in places.items()
        for name, secret in secrets.items()
        for form, written in forms(secret).items()
        if written in text
    }


def exported(world: World) -> dict[str, str]:
    """What the collector and Telegram received."""
    asked = {name: f"otlp/{name}" for name in ("spans", "metrics", "logs")} | {"telegram": "telegram/messages"}
    return {name: json.dumps(world.sandbox.get(path), ensure_ascii=False) for name, path in asked.items()}


def log_files(world: World) -> str:
    """What the processes wrote to stdout and stderr."""
    return "\n".join(path.read_text(errors="replace") for path in sorted(world.directory.glob("*.log")))


def in_redis(world: World) -> str:
    """Keys and values of the broker, the result backend and whatever else is in Redis."""
    with redis.Redis.from_url(world.redis_url) as client:
        return "\n".join(_opened(value) for key in client.scan_iter() for value in (key, *_values(client, key)))


def in_postgres(world: World) -> str:
    """Every row of every table."""
    tables = world.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [row for table in tables for row in world.rows(f'SELECT t::text AS row FROM "{table["tablename"]}" t')]
    return "\n".join(row["row"] for row in rows)


def pages(urls: Iterable[str], login: str = "") -> str:
    """What these addresses answer, errors included."""
    return "\n".join(_page(url, login) for url in urls)


def post_json(url: str, body: Mapping[str, Any]) -> None:
    """Send `body`, as somebody who is no process of ours."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    _DIRECT.open(request, timeout=20).close()


@contextmanager
def events(world: World) -> Iterator[list[str]]:
    """What is published while the context is open: Celery's events, and what remote control asks and answers."""
    heard: list[str] = []
    ended = threading.Event()
    with redis.Redis.from_url(world.redis_url) as client, client.pubsub() as subscription:
        subscription.psubscribe("*")

        def listen() -> None:
            while not ended.is_set():
                message = subscription.get_message(ignore_subscribe_messages=True, timeout=0.2)
                if message:
                    heard.append(_opened(message["data"]))

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield heard
        finally:
            ended.set()
            listener.join(5)


def _values(client: Any, key: bytes) -> list[Any]:
    match client.type(key):
        case b"string":
            return [client.get(key)]
        case b"hash":
            return [part for pair in client.hgetall(key).items() for part in pair]
        case b"list":
            return list(client.lrange(key, 0, -1))
        case b"set":
            return list(client.smembers(key))
        case b"zset":
            return list(client.zrange(key, 0, -1))
        case b"stream":
            return [repr(client.xrange(key))]
        case _:
            return []


def _opened(value: Any) -> str:
    """A value as text, and the body of a message of Celery, which is in base64."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    try:
        message = json.loads(text)
        body = base64.b64decode(message["body"]).decode("utf-8", "replace")
    except (ValueError, TypeError, KeyError):
        return text
    return f"{text}\n{body}"


def _page(url: str, login: str) -> str:
    request = urllib.request.Request(url)
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with _DIRECT.open(request, timeout=20) as reply:
            return str(reply.read().decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        return error.read().decode("utf-8", "replace")
