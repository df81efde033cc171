"""What every request passes before and behind the application: limits, the token, headers, measurements.

It is plain ASGI. It reads a body as a whole, so that what is too large or too slow is refused in one place.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from llmkit.serving.engine import bug
from llmkit.serving.limits import Limits
from llmkit.serving.measured import Measured
from llmkit.serving.refusals import Refused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Nothing but the server's own files, and nothing written into the page runs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Gate:
    """Lets requests through to an application.

    `public` are the paths that need no token. `host` is the address that the server is bound to. Once `draining` is
    set, each answer asks its client to connect anew. `paths` are those that are measured by name.
    """

    def __init__(
        self,
        app: App,
        *,
        limits: Limits,
        measured: Measured,
        host: str,
        token: str | None,
        public: frozenset[str],
    ) -> None:
        self._app, self._limits, self._measured = app, limits, measured
        self._host, self._token, self._public = host, token, public
        self._inside = 0
        self.draining = False
        self.paths: frozenset[str] = frozenset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self.paths else "other"
        began, status = time.monotonic(), 500

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                closing = [(b"connection", b"close")] if self.draining or status == 408 else []
                message = {**message, "headers": [*message.get("headers", []), *HEADERS, *closing]}
            await send(message)

        self._inside += 1
        self._measured.waiting.set(self._inside)
        try:
            self._check(scope)
            if scope["method"] == "POST":
                receive = await self._with_body(scope, receive)
            await self._app(scope, receive, answer)
        except Refused as refused:
            await refused.response()(scope, receive, answer)
        except Exception as error:  # hides nothing: it is logged, and the server goes on
            await bug(error).response()(scope, receive, answer)
        finally:
            self._inside -= 1
            self._measured.waiting.set(self._inside)
            self._measured.requests.labels(path, status).inc()
            self._measured.seconds.labels(path).observe(time.monotonic() - began)

    def _check(self, scope: Scope) -> None:
        """Raises Refused for what the headers say."""
        headers = dict(scope["headers"])
        if self._token is None:
            # A page of another site could reach this address under a name of its own.
            if self._host in LOOPBACK and _name_in(headers.get(b"host", b"")) not in LOOPBACK:
                raise Refused(
                    421, "this server answers to localhost alone", remedy="use its address, or start it with --token"
                )
        elif scope["path"] not in self._public:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self._token.encode()):
                raise Refused(401, "no token, or a wrong one", remedy="send the header Authorization: Bearer TOKEN")
        if scope["method"] != "POST":
            return
        if self._inside > self._limits.waiting:
            wait = min(60, max(1, round(self._measured.seconds_for(self._limits.waiting))))
            raise Refused(503, "too many requests are waiting", remedy=f"try again in {wait} s", retry_after=wait)
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise Refused(415, "the body is not JSON", remedy="send the header Content-Type: application/json")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._limits.body:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(
            413, f"the body is larger than {self._limits.body:,} bytes", remedy="send less text in a request"
        )

    async def _with_body(self, scope: Scope, receive: Receive) -> Receive:
        """The same messages, after the body has arrived as a whole. Raises Refused."""
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self._limits.seconds):
                while more:
                    message = await receive()
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self._limits.body:
                        raise self._too_large()
        except TimeoutError:
            raise Refused(408, "the body did not arrive in time", remedy="send it at once") from None
        messages = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> MutableMapping[str, Any]:
            return messages.pop() if messages else await receive()

        return replay


def _name_in(host: bytes) -> str | None:
    """The name or address in a Host header, which may have a port; None if there is none."""
    try:
        return urlsplit(f"//{host.decode('latin-1')}").hostname
    except ValueError:
        return None
