"""The two environments of KIS: real money and mock trading, with their own hosts, keys, accounts and TR ids."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import date
from typing import Any

from yarl import URL

from workers.dated import in_force, load
from workers.kis.errors import NotOffered, WrongEnvironment

REAL, MOCK = "real", "mock"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One call: its path, the TR id in force and how many rows a page has, 0 where there are no pages."""

    path: str
    tr_id: str
    rows: int


class Environment:
    """`name` is `real` or `mock`. Raises `WrongEnvironment` where `base_url` is not of that environment.

    A loopback address, which is a sandbox, goes with either.
    """

    def __init__(self, name: str, base_url: str) -> None:
        table = load("workers.kis", "transactions.json")
        hosts = {known: URL(row["base_url"]) for known, row in table["environments"].items()}
        if name not in hosts:
            raise WrongEnvironment(f"kis: unknown environment {name!r}: use {' or '.join(hosts)}")
        _check(name, base_url, hosts)
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._trading: dict[str, Any] = table["trading"]
        self._order_types: list[dict[str, Any]] = table["order_types"]["rows"]

    def transaction(self, operation: str, on: date) -> Transaction:
        """The call as it is on that day. Raises `NotOffered` for one that the environment does not have."""
        entry = self._trading[operation]
        tr_id = in_force(entry["ids"], on)[self.name]
        if tr_id is None:
            raise NotOffered(f"kis {operation}: mock trading does not offer this call; use the real environment")
        return Transaction(entry["path"], tr_id, entry.get("rows", {}).get(self.name, 0))

    def order_type(self, kind: str, on: date) -> str:
        """The ORD_DVSN of `limit`, `market` or `limit_ioc` on that day."""
        code: str = in_force(self._order_types, on)[kind][self.name]
        return code


def _check(name: str, base_url: str, hosts: dict[str, URL]) -> None:
    url = URL(base_url)
    if _is_loopback(url.host):
        return
    wanted = hosts[name]
    if (url.scheme, url.host, url.port) == (wanted.scheme, wanted.host, wanted.port):
        return
    of = [known for known, address in hosts.items() if address.host == url.host and known != name]
    whose = f"is of the {of[0]} environment" if of else "is no address of KIS"
    raise WrongEnvironment(f"kis: the mode is {name}, but KIS_BASE_URL {whose}; for {name} it is {wanted}")


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
