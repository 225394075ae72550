"""Takes secrets out of text before it leaves the system. Pure, and without dependencies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

MARK = "[redacted]"

# A shorter value is not a credential anybody issues, and replacing it would eat ordinary words.
SHORTEST_SECRET = 4

_NAMES = (
    r"(?:access|refresh|api|app|secret|private|client|bot|auth|id|approval)?[_-]?"
    r"(?:secret|token|password|passwd|passphrase|pwd|crumb|cookie|(?<=[a-z_-])key)"
    r"|appkey|appsecret|api_?key|authorization|x-api-key|cano|acnt_no|account_no"
)
# What was redacted before may stand inside a credential, and goes with it.
_VALUE = r"(?:\[redacted\]|(?!\[redacted\])[^\s\"'&,;)}\]])"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Telegram: in the path of every URL, and on its own
    (re.compile(r"\bbot\d{5,}(?::|%3A)[A-Za-z0-9_-]{10,}", re.IGNORECASE), f"bot{MARK}"),
    (re.compile(r"\b\d{6,}:[A-Za-z0-9_-]{30,}"), MARK),
    # a JSON web token, as Upbit and KIS use them
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"), MARK),
    (re.compile(rf"\b(Bearer|Basic)\s+{_VALUE}{{4,}}", re.IGNORECASE), rf"\1 {MARK}"),
    # user:password@host of a URL
    (re.compile(r"(://[^\s/:@]{0,100}:)[^\s/@]{1,200}@"), rf"\1{MARK}@"),
    # name=value, name: value, "name": "value"; the prefix is bounded so that long texts stay linear
    (
        re.compile(
            rf"(?<![A-Za-z0-9])((?:[A-Za-z0-9]{{1,24}}[_-]){{0,4}}(?:{_NAMES})[\"']?\s{{0,3}}[=:]\s{{0,3}})"
            rf"(?!(?:Bearer|Basic)\s)(?:([\"'])[^\"'\n]+\2|[\"']?{_VALUE}+)",
            re.IGNORECASE,
        ),
        rf"\1\2{MARK}\2",
    ),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without any of the `secrets`, plain or URL-quoted, and without what looks like a credential.

    Redacting twice changes nothing more.
    """
    for secret in sorted({form for value in secrets for form in _forms(value)}, key=len, reverse=True):
        text = text.replace(secret, MARK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def secret_values(settings: object) -> tuple[str, ...]:
    """The secrets among the fields of `settings`: every `SecretStr` that is set, and the passwords in its URLs."""
    found: set[str] = set()
    for value in vars(settings).values():
        reveal = getattr(value, "get_secret_value", None)
        if reveal is not None:
            found.add(reveal())
        elif isinstance(value, str) and "://" in value and "@" in value:
            try:
                found.add(urlsplit(value).password or "")
            except ValueError:
                continue
    return tuple(sorted(secret for secret in found if len(secret) >= SHORTEST_SECRET))


def _forms(secret: str) -> Iterable[str]:
    if len(secret) < SHORTEST_SECRET:
        return ()
    return {secret, quote(secret, safe="")}
