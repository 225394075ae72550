"""Takes secrets out of text before it leaves the system. Without dependencies."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

MARK = "[redacted]"

# A shorter value is not a credential anybody issues, and replacing it would eat ordinary words.
SHORTEST_SECRET = 4
# Fewer characters of base64 than this stand for a few bytes, which ordinary text may hold as well.
SHORTEST_BASE64 = 8
# The part of a secret address that makes it one; a shorter one is a word such as "ping".
SHORTEST_PATH = 8

# Celery's routing keys and the keys of tables are no credentials, though they are named like some.
_NAMES = (
    r"(?:access|refresh|api|app|secret|private|client|bot|auth|id|approval)?[_-]?"
    r"(?:secret|token|password|passwd|passphrase|pwd|crumb|cookie|(?<=[a-z_-])(?<!routing_)(?<!primary_)(?<!foreign_)key)"
    r"|appkey|appsecret|api_?key|authorization|x-api-key|cano|acnt_no|account_no"
)
_NAME_WORDS = (
    "secret", "token", "pass", "pwd", "crumb", "cookie", "key", "authorization", "cano", "acnt_no", "account_no"
)  # fmt: skip
# What was redacted before may stand inside a credential, and goes with it.
_VALUE = r"(?:\[redacted\]|(?!\[redacted\])[^\s\"'&,;)}\]])"
# Each pattern with words of which one is in every text it matches (in lower case), or none: looking for them is
# much faster than the pattern, and hardly a text of ours has one.
_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    # Telegram: in the path of every URL, and on its own
    (("bot",), re.compile(r"\bbot\d{5,}(?::|%3A)[A-Za-z0-9_-]{10,}", re.IGNORECASE), f"bot{MARK}"),
    ((), re.compile(r"[0-9][0-9]{5,19}:[A-Za-z0-9_-]{30,}"), MARK),
    # a JSON web token, as Upbit and KIS use them
    (("eyj",), re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"), MARK),
    (("bearer", "basic"), re.compile(rf"\b(Bearer|Basic)\s+{_VALUE}{{4,}}", re.IGNORECASE), rf"\1 {MARK}"),
    # user:password@host of a URL
    (("://",), re.compile(r"(://[^\s/:@]{0,100}:)[^\s/@]{1,200}@"), rf"\1{MARK}@"),
    # name=value, name: value, "name": "value"; the prefix is bounded so that long texts stay linear
    (
        _NAME_WORDS,
        re.compile(
            rf"(?<![A-Za-z0-9])((?:[A-Za-z0-9]{{1,24}}[_-]){{0,4}}(?:{_NAMES})[\"']?\s{{0,3}}[=:]\s{{0,3}})"
            rf"(?!(?:Bearer|Basic)\s)(?:([\"'])[^\"'\n]+\2|[\"']?{_VALUE}+)",
            re.IGNORECASE,
        ),
        rf"\1\2{MARK}\2",
    ),
)

# In every text that the one pattern without words matches. Looking for it is thirty times faster than the pattern in
# a text full of digits, such as ids and times.
_HINT = re.compile(r":[A-Za-z0-9_-]{30}")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without any of the `secrets`, plain, quoted or in base64, and without what looks like a credential.

    Redacting twice changes nothing more.
    """
    return replace(text, _all_forms(tuple(secrets)))


def replace(text: str, forms: Iterable[str]) -> str:
    """The same for secrets whose forms (`all_forms`) are known already."""
    for form in forms:
        if form in text:
            text = text.replace(form, MARK)
    lowered = _lowered(text)
    for words, pattern, replacement in _PATTERNS:
        if any(word in lowered for word in words) if words else _HINT.search(text):
            text = pattern.sub(replacement, text)
    return text


def suspicious(text: str, forms: Iterable[str]) -> bool:
    """Whether `replace` could find something in the text: often wrong about a clean one, never about another."""
    for form in forms:
        if form in text:
            return True
    lowered = _lowered(text)
    for words, pattern, _ in _PATTERNS:
        if not words and _HINT.search(text) and pattern.search(text):
            return True
        for word in words:
            if word in lowered:
                return True
    return False


def _lowered(text: str) -> str:
    # in every event of a publish, and of no interest to a pattern
    return text.lower().replace("routing_key", "")


def all_forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Every way in which one of the secrets may stand in a text, the longest first."""
    return _all_forms(tuple(secrets))


@lru_cache(maxsize=8)
def _all_forms(secrets: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({form for value in secrets for form in _forms(value)}, key=lambda form: (-len(form), form)))


def secret_values(settings: object, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The secrets among the fields of `settings`: every `SecretStr` that is set, and the passwords in its URLs; and
    those that other programs' variables hold (`environment_secrets`).

    Of a secret address also what follows its host, of an account number also the part that venues are sent alone.
    """
    found = set(environment_secrets(environ))
    for value in vars(settings).values():
        reveal = getattr(value, "get_secret_value", None)
        text = reveal() if reveal is not None else value
        if not isinstance(text, str):
            continue
        if reveal is not None:
            # a setting may hold several, separated by commas
            found |= {text, *(part.strip() for part in text.split(","))}
            if account := re.fullmatch(r"(\d{8})-\d{2}", text):
                found.add(account[1])
        if "://" in text:
            found |= _of_address(text, secret=reveal is not None)
    return tuple(sorted(secret for secret in found if len(secret) >= SHORTEST_SECRET))


def environment_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets that other programs' variables hold: the headers of the OTLP exporters, and Flower's login."""
    found: set[str] = set()
    for name, value in environ.items():
        if re.fullmatch(r"OTEL_EXPORTER_OTLP_(?:[A-Z]+_)?HEADERS", name):
            found |= {unquote(pair.partition("=")[2].strip()) for pair in value.split(",")}
        elif name == "FLOWER_BASIC_AUTH":
            found |= {login.strip().partition(":")[2] for login in value.split(",")}
    return tuple(sorted(secret for secret in found if len(secret) >= SHORTEST_SECRET))


def _of_address(url: str, *, secret: bool) -> set[str]:
    try:
        parts = urlsplit(url)
        password = parts.password or ""
    except ValueError:
        return set()
    found = {password, unquote(password)}
    if secret:
        path = parts.path.strip("/")
        found |= {part for part in (path, path.rpartition("/")[2], parts.query) if len(part) >= SHORTEST_PATH}
    return found


def _forms(secret: str) -> set[str]:
    if len(secret) < SHORTEST_SECRET:
        return set()
    # as it is, in a URL, in the text of JSON, and as Python shows it alone and in a text with a double quote
    shown = {json.dumps(secret)[1:-1], repr(secret)[1:-1], repr('"' + secret)[2:-1]}
    return {secret, quote(secret, safe=""), quote(secret)} | shown | _in_base64(secret)


def _in_base64(secret: str) -> set[str]:
    """What base64 makes of the secret wherever it stands in the encoded bytes, such as after `user:`."""
    data = secret.encode("utf-8", "surrogatepass")
    found = set()
    for before in range(3):
        # only characters all of whose bits are the secret's
        first, last = -(-8 * before // 6), 8 * (before + len(data)) // 6
        text = b64encode(b"\0" * before + data).decode()[first:last]
        if len(text) >= SHORTEST_BASE64:
            found |= {text, text.replace("+", "-").replace("/", "_")}
    return found
