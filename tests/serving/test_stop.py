"""A signal under load: every request that was accepted is answered, and the program ends well."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

CLIENTS = 24
BODY = json.dumps({"question": "Who?", "context": "Ann left. " * 20})
# A server of a model that takes its time. It is a process of its own, for its signals.
SERVER = """
import time
from support.served import HOST, first_word, made_up
from llmkit.serving.app import application
from llmkit.serving.limits import Limits
from llmkit.serving.server import bound, run

def slow(examples):
    time.sleep(0.02 + 0.002 * len(examples))
    return first_word(examples)

listening = bound(HOST, 0)
gate = application(made_up(slow), Limits(), host=HOST, token=None)
run(gate, listening, lambda: print(listening.getsockname()[1], flush=True))
"""


def keep_asking(port: int, found: Counter[str]) -> None:
    """Ask on one connection after the other until there is no server any more."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.connect()
        except OSError:
            return  # it no longer listens: nothing was accepted
        closing = False
        while not closing:
            try:
                connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                good = answer.status == 200 and json.loads(answer.read())["text"] == "Ann"
            except OSError as error:
                found[type(error).__name__] += 1
                return
            found["answered" if good else str(answer.status)] += 1
            closing = answer.will_close
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_every_accepted_request_is_answered(number: signal.Signals, tmp_path: Path) -> None:
    folders = os.pathsep.join(path for path in sys.path if path)
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": folders},
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (tmp_path / "errors").read_text()
    port = int(line)
    found: Counter[str] = Counter()
    threads = [threading.Thread(target=keep_asking, args=(port, found)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    while found["answered"] < 3 * CLIENTS:
        time.sleep(0.01)
    before = found["answered"]
    process.send_signal(number)
    for thread in threads:
        thread.join()
    assert process.wait(30) == 0
    assert set(found) == {"answered"}, found
    assert found["answered"] >= before + CLIENTS, "those that waited, at least"
