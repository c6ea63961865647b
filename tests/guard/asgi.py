"""Asks an ASGI service that is behind a guard, as a server would."""

import asyncio
from typing import Any

from mushu.guard import Guard, VerifiedKey
from tests.guard.conftest import Heard

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "client": ("198.51.100.7", 5)}


def ask_asgi(guard: Guard, /, scope: Any = None, **headers: str) -> Heard:
    seen: list[VerifiedKey] = []

    async def service(scope: Any, _receive: Any, send: Any) -> None:
        seen.append(scope["mushu.key"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    begun, body = told_by(guard.asgi(service), SCOPE | {"headers": sent} | (scope or {}))
    answered = {name.decode().title(): value.decode() for name, value in begun["headers"]}
    answered["WWW-Authenticate"] = answered.pop("Www-Authenticate", "")
    return Heard(begun["status"], answered, body["body"], seen[0] if seen else None)


def told_by(app: Any, scope: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an application sends."""
    told: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    async def receive() -> None:
        raise AssertionError("nobody has anything to say")

    asyncio.run(app(scope, receive, send))
    return told
