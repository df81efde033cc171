"""`llmkit serve` on the command line: what is wrong is said before anything is served."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from signal import SIGINT
from threading import Event, Thread
from typing import Any

import httpx
import pytest
import torch
from support import Command
from support.models import write_model
from support.served import HOST, QUESTION, TestClient, first_word, made_up
from transformers import BertForSequenceClassification

from llmkit.commands import serve as story
from llmkit.serving.limits import Limits
from llmkit.serving.server import bound
from llmkit.system.errors import Ended, UserError
from llmkit.tasks.columns import Columns


def test_the_port_is_taken() -> None:
    with bound(HOST, 0) as other:
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot serve on {HOST}, port {port}: Address already in use"):
            story.serve(made_up(first_word), HOST, port, None, Limits())


def test_an_empty_token_is_no_token() -> None:
    with pytest.raises(UserError, match="the token is empty"):
        story.serve(made_up(first_word), HOST, 0, " ", Limits())


def test_a_token_from_a_file_ends_with_a_newline(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = []

    def run(gate: Any, listening: socket.socket, ready: Any) -> None:
        listening.close()
        with TestClient(gate) as server:
            for token in ("secret", "other"):
                statuses.append(server.get("/info", headers={"Authorization": f"Bearer {token}"}).status_code)

    monkeypatch.setattr(story, "run", run)
    story.serve(made_up(first_word), HOST, 0, " secret\r\n", Limits())
    assert statuses == [200, 401]


@pytest.mark.parametrize(("host", "token", "warned"), [("0.0.0.0", None, True), ("0.0.0.0", "x", False)])
def test_an_open_server_is_warned_of(
    host: str, token: str | None, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(story, "run", lambda gate, listening, ready: listening.close() or ready())
    story.serve(made_up(first_word), host, 0, token, Limits())
    out, err = capsys.readouterr()
    assert ("there is no --token" in err) == warned
    assert "answers" in out


def test_a_second_ctrl_c_does_not_wait(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    go, threads, statuses = Event(), list[Thread](), list[int]()

    def slow(examples: Columns) -> Any:
        os.kill(os.getpid(), SIGINT)
        go.wait(30)
        return first_word(examples)

    def ask(url: str) -> None:
        with suppress(httpx.RemoteProtocolError):  # uvicorn sends a 500 if it still can
            statuses.append(httpx.post(f"{url}/predict", json=QUESTION, timeout=30).status_code)

    def again(url: str) -> None:
        with suppress(httpx.ConnectError):
            while httpx.get(f"{url}/health"):  # until the first one has had its effect
                time.sleep(0.02)
        os.kill(os.getpid(), SIGINT)

    def said(text: str) -> None:  # requests are accepted
        threads.extend(Thread(target=each, args=(text.split()[0],)) for each in (ask, again))
        for thread in threads:
            thread.start()

    monkeypatch.setattr(story, "result", said)
    try:
        with pytest.raises(Ended) as ended:
            story.serve(made_up(slow), HOST, 0, None, Limits())
    finally:
        go.set()
        for thread in threads:
            thread.join()
    err = capsys.readouterr().err
    assert (ended.value.exit_code, "were dropped" in err, "every accepted" in err) == (130, True, False)
    assert 200 not in statuses


def test_a_model_that_is_no_good(llmkit: Command, tmp_path: Path) -> None:
    code, _, err = llmkit("serve", "nowhere/at/all")
    assert (code, "no such run or checkpoint" in err) == (1, True)
    (write_model(tmp_path / "model", "classification") / "llmkit.json").unlink()
    code, _, err = llmkit("serve", "model")
    assert (code, "does not say what task it is for" in err) == (1, True)


def test_out_of_memory_slows_one_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forward = BertForSequenceClassification.forward
    sizes, most = [], 1

    def limited(self: Any, input_ids: torch.Tensor, **inputs: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, input_ids, **inputs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", limited)
    subject = story.prepare(str(write_model(tmp_path / "model", "classification")), None, [], int8=False)
    examples = Columns({"id": ["0", "1"], "text": ["A lamp.", "A dog."], "pair": [None, None]})
    assert len(subject.read(examples)) == 2
    assert "going on with 1 at a time" in capsys.readouterr().err
    most = 2  # there is memory again
    assert len(subject.read(examples)) == 2
    assert sizes == [2, 1, 1, 2]


def test_without_the_packages_it_says_what_to_install(llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmkit.system.extras.find_spec", lambda name: None if name == "uvicorn" else name)
    code, _, err = llmkit("serve", "model")
    assert code == 1
    assert 'pip install "llmkit[serve]"' in err
