"""A server in a thread of the test, and one without a port."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest

pytest.importorskip("fastapi")  # skips the test file that imports this one

from starlette.testclient import TestClient

from llmkit.serving.app import application
from llmkit.serving.limits import Limits
from llmkit.serving.predicting import Subject
from llmkit.serving.reasons import Reasons
from llmkit.serving.server import Server, bound
from llmkit.tasks import task_named
from llmkit.tasks.columns import Columns
from llmkit.tasks.values import Candidate, Prediction

HOST = "127.0.0.1"
QUESTION = {"question": "Who?", "context": "Ann left."}


def made_up(
    read: Callable[[Columns], Sequence[Prediction]], task: str = "squad", reasons: Reasons | str = "not here"
) -> Subject:
    """A model that is a function."""
    kind: Any = task_named(task)
    return Subject("made/up", kind, kind.data_class(path="elsewhere"), "nothing", read, reasons)


def first_word(examples: Columns) -> list[Prediction]:
    """Answers with the first word of the passage."""
    found = []
    for example_id, context in zip(examples["id"], examples["context"], strict=True):
        end = len(context.split()[0])
        best = Candidate(context[:end], 0, end, 1.0, 0.75)
        found.append(Prediction(example_id, best.text, 0.75, 0, end, None, (best,)))
    return found


@contextmanager
def client(
    subject: Subject, limits: Limits | None = None, token: str | None = None, host: str = HOST
) -> Iterator[TestClient]:
    """Ask a server that has no port."""
    gate: Any = application(subject, limits or Limits(), host=host, token=token)
    with TestClient(gate, base_url=f"http://{HOST}") as found:
        yield found


@contextmanager
def running(subject: Subject, token: str | None = None) -> Iterator[str]:
    """The address of a server on a free port."""
    listening, ready = bound(HOST, 0), Event()
    gate = application(subject, Limits(), host=HOST, token=token)
    server = Server(gate, ready.set)
    thread = Thread(target=server.run, args=([listening],))
    port = listening.getsockname()[1]
    thread.start()
    try:
        assert ready.wait(60)
        yield f"http://{HOST}:{port}"
    finally:
        server.should_exit = True
        thread.join()
