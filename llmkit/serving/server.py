"""Runs an application on a port until a signal, and loses no request that it accepted."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

import uvicorn

from llmkit.serving.gate import Gate
from llmkit.system.errors import UserError

LINGER = 0.5  # seconds in which open connections may still send a request that is on its way


class Server(uvicorn.Server):
    """Serves a gate. `ready` is called once requests are accepted."""

    def __init__(self, gate: Gate, ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            gate,
            log_config=None,
            log_level="critical",  # its messages could quote what a client sent
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            ws="none",
            lifespan="on",
        )
        super().__init__(config)
        self._gate, self._ready = gate, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, let each open connection have its last answer, then close them."""
        for _ in range(2):
            await asyncio.sleep(0)  # whoever has connected by now is accepted
        for server in self.servers:
            server.close()
        self._gate.draining = True  # not before: who is asked to connect anew must find nobody who listens
        if not self.force_exit:
            await asyncio.sleep(LINGER)
        await super().shutdown(sockets)


def bound(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address. Port 0 is any that is free. Raises UserError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        raise UserError(
            f"cannot serve on {host}, port {port}: {error.strerror or error}", remedy="choose another with --port"
        ) from error
    return found


def run(gate: Gate, listening: socket.socket, ready: Callable[[], None]) -> bool:
    """Serve until SIGTERM or Ctrl-C, then answer what was accepted. `ready` is called once requests are accepted.

    Returns whether a second Ctrl-C ended it at once, which drops what is not answered yet.
    """
    server = Server(gate, ready)
    # uvicorn raises the signal again once all is done, for what handled it before: that is an end as asked for.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run([listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return server.force_exit
