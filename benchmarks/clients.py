"""Clients of `llmkit serve` for the benchmarks: the server in a process, and many connections that ask at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Reply:
    """An answer, and the seconds until it came. `status` is 0 if the connection was closed without one."""

    status: int
    body: bytes
    seconds: float


class Server:
    """`llmkit serve` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    @property
    def memory(self) -> float:
        """Its resident memory, in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def stop(self) -> int:
        """Send SIGTERM. Returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@contextmanager
def serving(model: str, *options: str, log: Path) -> Iterator[Server]:
    """Serve a model on a free port, until the end of the block."""
    command = [sys.executable, "-m", "llmkit", "serve", model, "--port", "0", *options]
    with log.open("a") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if "answers" not in line:
        sys.exit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    server = Server(process, int(line.partition(" ")[0].rpartition(":")[2]))
    try:
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def request(
    body: bytes, path: str = "/predict", method: str = "POST", headers: Mapping[str, str] | None = None
) -> bytes:
    """A request as it is sent."""
    lines = {
        "Host": HOST,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def ask_all(port: int, requests: Sequence[bytes], clients: int) -> tuple[list[Reply], float]:
    """Send requests over so many connections at once. Returns the replies in order, and the seconds for all."""
    return asyncio.run(_ask_all(port, requests, clients))


async def _ask_all(port: int, requests: Sequence[bytes], clients: int) -> tuple[list[Reply], float]:
    replies: list[Reply | None] = [None] * len(requests)
    left = iter(range(len(requests)))

    async def client() -> None:
        connection = None
        for number in left:
            connection = connection or await asyncio.open_connection(HOST, port)
            began = time.perf_counter()
            try:
                status, body, closes = await asyncio.wait_for(_ask(*connection, requests[number]), 300)
            except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                status, body, closes = 0, b"", True
            replies[number] = Reply(status, body, time.perf_counter() - began)
            if closes:
                connection[1].close()
                connection = None
        if connection is not None:
            connection[1].close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    seconds = time.perf_counter() - began
    return [reply for reply in replies if reply is not None], seconds


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> tuple[int, bytes, bool]:
    """The status, the body, and whether the connection is over."""
    writer.write(sent)
    with suppress(ConnectionError):  # refused before all was sent: the answer may be there
        await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    status = int(head[0].split()[1])
    headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
    closes = headers.get("connection") == "close"
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body, closes = await reader.read(), True
    return status, body, closes
