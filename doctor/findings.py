"""What a check found, and how a fault of the network reads."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Literal

import aiohttp

Verdict = Literal["ok", "FAULT", "warning", "skipped"]

# how long an address may take to answer, in seconds
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was looked at, and what is so. A fault's `detail` names the cure."""

    verdict: Verdict
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.verdict:<8}{self.name}: {self.detail}"


def ok(name: str, detail: str) -> Finding:
    return Finding("ok", name, detail)


def fault(name: str, detail: str) -> Finding:
    return Finding("FAULT", name, detail)


def warning(name: str, detail: str) -> Finding:
    """What works, and probably not as it is meant to."""
    return Finding("warning", name, detail)


def skipped(name: str, reason: str) -> Finding:
    return Finding("skipped", name, reason)


def why(error: BaseException, setting: str) -> str:
    """Why an address could not be asked, each cause in words of its own; `setting` names the address.

    Never shows the address itself, which may hold a token.
    """
    if isinstance(error, aiohttp.InvalidURL):
        return f"{setting} is no address; write it as http://host:port"
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(error.__cause__, socket.gaierror):
        return f"no such host (DNS); correct the host in {setting}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its TLS certificate is not accepted ({_reason(error)}); renew it, or trust its issuer"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return f"TLS fails ({_reason(error)}); is it http:// instead of https:// in {setting}?"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"the host does not take the connection within {PATIENCE:g} s; check {setting}, firewall and network"
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return f"it takes the connection and does not answer within {PATIENCE:g} s (it hangs); restart it"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return f"nothing listens on that port (connection refused); start it, or correct the port in {setting}"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | aiohttp.ClientPayloadError):
        return f"it drops the connection unanswered; does {setting} name a port that speaks HTTP (and not TLS or gRPC)?"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"what answers there is no HTTP; correct the port in {setting}"
    return f"cannot be reached ({type(error).__name__}); check {setting}"


def _reason(error: BaseException) -> str:
    reason = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return str(getattr(reason, "verify_message", "") or getattr(reason, "reason", "") or type(reason).__name__)
