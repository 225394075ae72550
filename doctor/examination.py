"""All checks, in the order in which one should mend what they find."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

import aiohttp

from doctor import backups, otlp, processes, servers, setup, telegram
from doctor.findings import PATIENCE, Finding, fault, warning
from settings import SettingsError, load_settings
from settings.misspelt import misspelt, names_in_env
from telemetry.redaction import redact, secret_values

_TIMEOUT = aiohttp.ClientTimeout(total=3 * PATIENCE, sock_connect=PATIENCE, sock_read=PATIENCE)


async def examine(*, alert: bool = False, ports: Sequence[int] = tuple(processes.PORTS)) -> AsyncIterator[Finding]:
    """Look at everything and say each finding as soon as it is there; no secret is in any.

    `alert` also sends one to the error chat. `ports` are where this host's processes serve Prometheus text.
    """
    for line in misspelt(names_in_env()):
        yield warning("settings", line)
    try:
        settings = load_settings()
    except SettingsError as error:
        for line in str(error).splitlines():
            yield fault("settings", f"{line} (set it in .env or the environment)")
        return
    known = secret_values(settings)
    # a connection kept open may be one that the other side is closing
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(timeout=_TIMEOUT, connector=connector) as session:
        checks: tuple[Callable[[], Awaitable[list[Finding]]], ...] = (
            partial(_given, setup.configuration(settings)),
            partial(servers.redis, settings),
            partial(servers.database, settings),
            partial(backups.backups, settings),
            partial(setup.venues, settings, session),
            partial(processes.life, settings),
            partial(telegram.chats, settings, session),
            partial(otlp.collector, settings, session),
            partial(processes.prometheus, settings, session, ports),
            partial(processes.pages, settings, session),
        )
        for check in checks:
            for finding in await check():
                yield replace(finding, detail=redact(finding.detail, known))
    if alert:
        finding = await telegram.alert(settings)
        yield replace(finding, detail=redact(finding.detail, known))


async def _given(findings: list[Finding]) -> list[Finding]:
    return findings
