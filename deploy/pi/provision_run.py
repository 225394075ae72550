"""One run of pyinfra over one machine."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyinfra.api import BaseStateCallback, Config, Inventory, State
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.operations import run_ops
from pyinfra.context import ctx_host, ctx_state

from deploy.pi.provision_machine import Items, Wanted, add_items
from deploy.pi.provision_probe import CONNECT_SECONDS, CannotProvision, Machine, Target


class Told(BaseStateCallback):  # type: ignore[misc]
    """Tells of each item as soon as it has changed something."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.changed: list[str] = []
        self.failed = ""

    def operation_host_error(self, state: State, host: Any, op_hash: str, *_: Any, **__: Any) -> None:
        self.failed = self.failed or _title(state, op_hash)

    def operation_end(self, state: State, op_hash: str) -> None:
        for host in state.inventory:
            meta = state.get_op_data_for_host(host, op_hash).operation_meta
            if meta.is_complete() and meta.did_change():
                self.changed.append(_title(state, op_hash))
                self._tell(self.changed[-1])


@dataclass(slots=True)
class Run:
    """The items, compared with the machine and not changed yet."""

    target: Target
    state: State
    items: Items

    @property
    def titles(self) -> list[str]:
        """What there is to look after; what only follows from others is not counted."""
        return [title for title in self.items.metas if title not in self.items.causes]

    def would_change(self) -> list[str]:
        """The titles of what is not as it should be."""
        with self._here():
            return [title for title in self.titles if self.items.metas[title].will_change]

    def change(self, tell: Callable[[str], None]) -> list[str]:
        """Change it; returns the titles of what was changed. Raises `CannotProvision` where that failed."""
        told = Told(tell)
        self.state.add_callback_handler(told)
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), self._here():
                run_ops(self.state)
        except PyinfraError as error:
            why = said.getvalue().strip() or str(error)
            last = "\n".join(why.splitlines()[-12:])
            raise CannotProvision(
                f"{told.failed or 'an item'}: failed; what was changed before it stays, and running this again goes on "
                f"from there. {self.target} said:\n{last}"
            ) from None
        finally:
            disconnect_all(self.state)
        return [title for title in told.changed if title not in self.items.causes]

    @contextlib.contextmanager
    def _here(self) -> Iterator[None]:
        (host,) = self.state.inventory
        with ctx_state.use(self.state), ctx_host.use(host):
            yield


def prepare(target: Target, machine: Machine, wanted: Mapping[str, Any]) -> Run:
    """Connect and compare. Raises `CannotProvision`."""
    logging.getLogger("pyinfra").setLevel(logging.ERROR)
    option = "UserKnownHostsFile="
    data = {
        "ssh_port": int(target.port) if target.port else None,
        "ssh_user": target.user or machine["user"],
        "ssh_key": target.key or None,
        "ssh_known_hosts_file": next(
            (word.partition("=")[2] for word in target.options if word.removeprefix("-o").startswith(option)), None
        ),
    }
    inventory = Inventory(([(target.host, {key: value for key, value in data.items() if value})], {}))
    state = State(inventory, Config(SUDO=not machine.is_root, CONNECT_TIMEOUT=CONNECT_SECONDS))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            connect_all(state)
            items = add_items(state, machine, Wanted(**wanted))
    except PyinfraError as error:
        why = said.getvalue().strip() or str(error)
        raise CannotProvision(f"{target} was reached by ssh, but not by pyinfra: {why}") from None
    return Run(target, state, items)


def _title(state: State, op_hash: str) -> str:
    return ", ".join(state.get_op_meta(op_hash).names)
