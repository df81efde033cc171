"""A Hub that answers, but not with what was asked for: too busy, too many requests, a token that it does not take."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, errors
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # re-exported there
from support.hub import StandInHub
from support.hub_process import command, in_one_process
from support.hub_repos import add_squad

from llmkit.system import hub as hub_room
from llmkit.system.errors import UserError

SQUAD = "rajpurkar/squad"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The libraries think that there is a network, and no repository was looked up before."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_room, "_trouble", None)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path))
    hub_room.commit_of.cache_clear()
    yield
    hub_room.commit_of.cache_clear()


def answering(monkeypatch: pytest.MonkeyPatch, status: int) -> errors.HfHubHTTPError:
    """The error that each lookup raises from now on."""
    response = httpx.Response(status, request=httpx.Request("GET", "http://hub/api/datasets/me/rows"))
    error = errors.HfHubHTTPError(str(status), response=response)

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(HfApi, "repo_info", refuse)
    return error


def refusal(name: str) -> tuple[str, str]:
    """What is said when a library cannot find a repository."""
    with pytest.raises(UserError) as caught, hub_room.reading_from_the_hub("dataset", name):
        raise FileNotFoundError(f"{name} is not in the cache")
    return str(caught.value), caught.value.remedy


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (500, "run it again in some minutes"),
        (503, "run it again in some minutes"),
        (429, "wait some minutes; with a login (`hf auth login`) the Hub allows more requests"),
    ],
)
def test_a_hub_that_is_too_busy(
    status: int, remedy: str, online: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Earlier downloads serve; what there is none of is named, and why."""
    answering(monkeypatch, status)
    told, advised = refusal("me/rows")
    assert f"answers with status {status}, and me/rows was not downloaded before" in told
    assert advised.startswith(remedy)
    assert f"answers with status {status}; using earlier downloads" in capsys.readouterr().err


def test_a_token_that_the_hub_does_not_take(online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for status in (401, 403):
        hub_room.commit_of.cache_clear()
        answering(monkeypatch, status)
        told, advised = refusal("me/rows")
        assert told == f"the Hub does not let you read me/rows with this token ({status})"
        assert "hf auth login" in advised


def test_a_hub_that_fails_after_the_lookup(online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets hides the response that it got behind a file that it did not find."""
    response = answering(monkeypatch, 503)
    monkeypatch.setattr(HfApi, "repo_info", lambda *_, **__: type("Info", (), {"sha": "0" * 40}))
    for cause, told in (
        (response, "answered with status 503 for me/rows"),
        (httpx.ReadTimeout("no answer"), "lost the connection to the Hub while reading me/rows"),
    ):
        with pytest.raises(UserError, match=told), hub_room.reading_from_the_hub("dataset", "me/rows"):
            fail_as_datasets_does(cause)
    with pytest.raises(ZeroDivisionError), hub_room.reading_from_the_hub("dataset", "me/rows"):
        raise ZeroDivisionError


def fail_as_datasets_does(cause: Exception) -> None:
    try:
        raise cause
    except Exception:
        raise FileNotFoundError("no such file") from None


@pytest.mark.slow
def test_a_command(tmp_path: Path) -> None:
    """The library asks again for half a minute before it gives up."""
    with StandInHub() as hub:
        add_squad(hub)
        hub.fault = ("(GET|HEAD) /(datasets/)?.*/resolve/", HTTPStatus.TOO_MANY_REQUESTS)
        step = command("finetune", "--task", "squad", "model.pretrained=bert")
        ran = in_one_process(hub.environ(tmp_path / "hf"), tmp_path, {"": step})[""]
    assert ran.code == 1
    assert ran.err.splitlines() == [
        f"error: the Hub at {hub.endpoint} answered with status 429 for {SQUAD}",
        "Wait some minutes; with a login (`hf auth login`) the Hub allows more requests.",
    ]
