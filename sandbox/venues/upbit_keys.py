"""Keys of the Upbit stand-in, and the check of a request's signature as Upbit does it (docs.upbit.com, auth)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote

import jwt
from aiohttp import web

from sandbox.venues.upbit_matching import Account

ALGORITHMS = ["HS256", "HS512"]


class Refused(Exception):
    """A request that Upbit refuses, with the documented status, name and message."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name


@dataclass(slots=True)
class Key:
    """One access key. `refuse` is the name of an error that every request with it meets."""

    secret: str
    account: Account
    expires_at: datetime
    refuse: str = ""
    nonces: set[str] = field(default_factory=set)


_KEY_MESSAGES = {
    "invalid_query_payload": "JWT 헤더의 페이로드가 올바르지 않습니다.",
    "jwt_verification": "JWT 헤더 검증에 실패했습니다.",
    "expired_access_key": "API 키가 만료되었습니다.",
    "invalid_access_key": "잘못된 엑세스 키입니다.",
    "nonce_used": "이미 요청한 nonce값이 다시 사용되었습니다.",
    "no_authorization_ip": "허용되지 않은 IP 주소입니다.",
    "no_authorization_i_p": "허용되지 않은 IP 주소입니다.",
    "no_authorization_token": "인증 토큰이 없습니다.",
    "out_of_scope": "허용되지 않은 기능입니다.",
}
KEY_ERRORS = tuple(_KEY_MESSAGES)


def key_refused(name: str) -> Refused:
    """The refusal of a key by that name."""
    return Refused(403 if name == "out_of_scope" else 401, name, _KEY_MESSAGES[name])


async def check(request: web.Request, keys: dict[str, Key], now: datetime) -> tuple[str, Key]:
    """The key a request is signed with. Raises `Refused`."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        raise key_refused("no_authorization_token")
    try:
        named = str(jwt.decode(token, options={"verify_signature": False}).get("access_key", ""))
    except jwt.PyJWTError:
        raise key_refused("jwt_verification") from None
    key = keys.get(named)
    if key is None:
        raise key_refused("invalid_access_key")
    try:
        claims = jwt.decode(token, key.secret, algorithms=ALGORITHMS)
    except jwt.PyJWTError:
        raise key_refused("jwt_verification") from None
    signed = await _signed(request)
    hashed = hashlib.sha512(signed.encode()).hexdigest() if signed else None
    if claims.get("query_hash") != hashed or (signed and claims.get("query_hash_alg", "SHA512") != "SHA512"):
        raise key_refused("invalid_query_payload")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not nonce:
        raise key_refused("invalid_query_payload")
    if nonce in key.nonces:
        raise key_refused("nonce_used")
    key.nonces.add(nonce)
    if key.expires_at <= now:
        raise key_refused("expired_access_key")
    if key.refuse:
        raise key_refused(key.refuse)
    return named, key


async def _signed(request: web.Request) -> str:
    """What the hash is over: the query without percent-encoding, of a POST its body rendered alike."""
    if request.method != "POST":
        return unquote(request.rel_url.raw_query_string)
    body = await read_body(request)
    return "&".join(f"{name}={value}" for name, value in body.items())


async def read_body(request: web.Request) -> dict[str, str]:
    """The JSON object of a POST, whose values are strings. Raises `Refused`."""
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
        raise Refused(400, "invalid_parameter", "잘못된 파라미터")
    return body
