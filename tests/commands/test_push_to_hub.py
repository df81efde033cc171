"""`llmkit push` to a Hub: what is published and how it is used, what never is, and every way in which it can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from support.hub import StandInHub, hub_environ, refusing_endpoint, silent_endpoint
from support.hub_repos import SQUAD_VALIDATION, add_bert, add_squad

from llmkit.tasks.purpose import FILE

pytestmark = pytest.mark.oldest

JANE, STRANGER = "hf_janesOwnSecretToken", "hf_stranger"
NAME = "jane/answerer"
PARTS = {"config.json", "llmkit.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}

# The Hub's address is read once a process: one process runs all commands, each when it is asked to.
DRIVER = """
import io, json, os, sys, time, traceback
from contextlib import redirect_stderr, redirect_stdout
import llmkit.sharing.hub_upload
from llmkit.cli.main import main

llmkit.sharing.hub_upload.TIMEOUT = float(sys.argv[1])
time.sleep = lambda seconds: None  # of the library, before it tries again
for line in sys.stdin:
    token, arguments = json.loads(line)
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token
    sys.argv = ["llmkit", *arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            exec(arguments[1]) if arguments[0] == "-c" else main()
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            code = -1
            traceback.print_exc()
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


@dataclass
class Client:
    """Runs commands on a machine whose Hub is the stand-in; `said` is all that they ever printed."""

    process: subprocess.Popen[str]
    said: str = ""

    def __call__(self, *arguments: str, token: str | None = JANE) -> tuple[int, str, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([token, arguments]) + "\n")
        self.process.stdin.flush()
        code, out, err = json.loads(self.process.stdout.readline())
        self.said += out + err
        return code, out, err

    def fails(self, *arguments: str, token: str | None = JANE) -> list[str]:
        """The two lines, problem and remedy, of a command that fails."""
        code, out, err = self(*arguments, token=token)
        assert (code, out) == (1, ""), err
        lines = err.splitlines()
        assert lines[-2].startswith("error: ")
        return lines[-2:]


@contextmanager
def machine(environment: dict[str, str], folder: Path, timeout: float = 60.0) -> Iterator[Client]:
    """A machine, to run commands on; the token of its user may not appear in what they say."""
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(timeout)],
        env={**environment, "LLMKIT_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "0"},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        found = Client(process)
        yield found
        assert process.stdin is not None
        process.stdin.close()
    assert JANE not in found.said


# What a process that ran commands before may remember of the Hub.
FORGET = """
import shutil
from huggingface_hub import constants
constants.HF_HUB_OFFLINE = False
shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StandInHub, Client]]:
    """A Hub, and a machine for all tests."""
    folder = tmp_path_factory.mktemp("machine")
    with StandInHub(tokens={JANE: "jane"}) as hub, machine(hub.environ(folder / "hf"), folder) as client:
        yield hub, client


@pytest.fixture
def hub(opened: tuple[StandInHub, Client]) -> StandInHub:
    """The Hub with one model, of somebody else."""
    hub, _ = opened
    hub.state.repos.clear()
    hub.state.storage.clear()
    hub.fault = ("(?!)", None)
    hub.add_model("acme/answerer", {"config.json": b"{}"})
    return hub


@pytest.fixture
def jane(hub: StandInHub, opened: tuple[StandInHub, Client]) -> Client:
    """The machine, which knows nothing of the Hub yet."""
    _, client = opened
    assert client("-c", FORGET)[0] == 0
    hub.requests.clear()
    return client


def test_what_is_published(finished_run: Path, hub: StandInHub, jane: Client) -> None:
    (finished_run / "model" / "notes.txt").write_text("mine")
    before = {file: file.read_bytes() for file in finished_run.rglob("*") if file.is_file()}
    code, out, err = jane("push", str(finished_run), NAME)
    assert (code, out) == (0, f"{hub.endpoint}/{NAME}\n"), err
    assert err.splitlines()[:2] == [
        "warning: not uploaded (not part of the model): notes.txt",
        f"created {NAME} (public)",
    ]
    published = hub.files(NAME)
    assert set(published) == {*PARTS, "README.md", ".gitattributes"}
    for name in PARTS:
        assert published[name] == (finished_run / "model" / name).read_bytes()
    assert f'name = "{NAME}"'.encode() in published["README.md"]
    assert sum("/commit/" in request for request in hub.requests) == 1, (
        "one commit, in which readers see all or nothing"
    )
    assert {file: file.read_bytes() for file in finished_run.rglob("*") if file.is_file()} == before

    hub.requests.clear()
    code, out, err = jane("push", str(finished_run), NAME)
    assert (code, out) == (0, f"{hub.endpoint}/{NAME}\n")
    assert f"{NAME} is already up to date" in err
    assert not [request for request in hub.requests if "PUT" in request or "/commit/" in request]

    # Parts of a larger model, which a loader would prefer, and what is somebody's own.
    others = {"model-00001-of-00002.safetensors": b"old", "model.safetensors.index.json": b"{}", "eval.md": b"mine"}
    hub.add_model(NAME, {**published, **others})
    code, _, err = jane("push", str(finished_run), NAME)
    assert code == 0
    assert "deleting files of the previous model: model-00001-of-00002.safetensors, model.saf" in err
    assert set(hub.files(NAME)) == {*published, "eval.md"}


@pytest.mark.slow
def test_what_was_published_is_used_like_its_run(finished_run: Path, hub: StandInHub, jane: Client, runs: Path) -> None:
    """By its name alone: task, windows and threshold come with it, and stay when the Hub is gone."""
    asked = ("-q", "Who founded it?", "-c", "Tom Reed founded Ambury in 1810.", "--json")
    answers = {}
    for threshold in (-1e6, 1e6):
        file = finished_run / "model" / "llmkit.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "task": "squad_v2", "null_threshold": threshold}))
        assert jane("push", str(finished_run), NAME)[0] == 0
        code, out, err = jane("ask", NAME, *asked)
        assert code == 0, err
        answers[threshold] = json.loads(out)["text"]
    assert answers[-1e6] == ""
    assert answers[1e6]
    code, out, err = jane("predict", NAME, str(runs / "squad.jsonl"), "-o", "out.jsonl")
    assert (code, out) == (0, "out.jsonl\n"), err
    hub.fault = ("HEAD .*/llmkit.json", HTTPStatus.BAD_GATEWAY)
    hub.add_model("acme/other", {file.name: file.read_bytes() for file in (finished_run / "model").iterdir()})
    problem, remedy = jane.fails("ask", "acme/other", *asked)
    assert problem == "error: the Hub did not send llmkit.json of acme/other"
    assert remedy == "Run it again."
    offline = ("-c", "from huggingface_hub import constants; constants.HF_HUB_OFFLINE = True")
    assert jane(*offline)[0] == 0
    code, out, err = jane("ask", NAME, *asked)
    assert (code, json.loads(out)["text"]) == (0, answers[1e6])
    assert FILE not in err


@pytest.mark.slow
def test_a_model_of_others_says_nothing_of_its_task(finished_run: Path, hub: StandInHub, jane: Client) -> None:
    model = {file.name: file.read_bytes() for file in (finished_run / "model").iterdir() if file.name != FILE}
    hub.add_model("acme/answerer", model)
    assert "does not say what task" in jane.fails("eval", "acme/answerer", "--data", "x.jsonl")[0]
    assert jane("ask", "acme/answerer", "-q", "Who?", "-c", "Tom Reed.")[0] == 0
    # Another program loads one, and does not ask for the file; then the Hub is gone.
    get = "from huggingface_hub import constants, snapshot_download as get; get('acme/other', endpoint={!r}); {}"
    hub.add_model("acme/other", model)
    off = "constants.HF_HUB_OFFLINE = True"
    code, _, err = jane("-c", get.format(hub.endpoint, off))
    assert code == 0, err
    for name, unknown in (("acme/answerer", False), ("acme/other", True)):
        code, _, err = jane("ask", name, "-q", "Who?", "-c", "Tom Reed.")
        assert code == 0, err
        assert (f"whether {name} has a llmkit.json" in err) == unknown


def test_private_repositories(finished_run: Path, hub: StandInHub, jane: Client) -> None:
    code, _, err = jane("push", str(finished_run), NAME, "--private")
    assert code == 0
    assert f"created {NAME} (private)" in err
    assert jane("push", str(finished_run), NAME)[0] == 0, "and it stays private"
    assert "this token has no write access" in jane.fails("push", str(finished_run), NAME, token=STRANGER)[0]
    hub.add_model("jane/open", {})
    problem, remedy = jane.fails("push", str(finished_run), "jane/open", "--private")
    assert problem == "error: jane/open already exists and is public"
    assert f"{hub.endpoint}/jane/open/settings" in remedy
    assert hub.files("jane/open") == {}


def test_who_may_not_write(finished_run: Path, hub: StandInHub, jane: Client) -> None:
    problem, remedy = jane.fails("push", str(finished_run), NAME, token=None)
    assert problem == "error: not logged in to the Hub"
    assert "`hf auth login`" in remedy
    assert hub.requests == []
    problem, remedy = jane.fails("push", str(finished_run), NAME, token="hf_ofNobodyAtAll")
    assert problem == "error: the Hub does not accept your token"
    assert "HF_TOKEN" in remedy
    for name in ("acme/new", "acme/answerer"):
        problem, remedy = jane.fails("push", str(finished_run), name)
        assert problem.startswith(f"error: this token has no write access to {name}: You don't have the rights")
        assert "`hf auth login`" in remedy
    assert hub.files("acme/answerer") == {"config.json": b"{}"}


FAULTS: dict[str, tuple[str, HTTPStatus | None, str]] = {
    "creation fails": ("POST /api/repos", HTTPStatus.BAD_GATEWAY, "cannot accept jane/answerer right now: 502"),
    "creation is refused": (
        "POST /api/repos",
        HTTPStatus.BAD_REQUEST,
        "refused jane/answerer: 400, Something is wrong",
    ),
    "the storage fails": ("PUT /storage", HTTPStatus.SERVICE_UNAVAILABLE, "broke (HfHubHTTPError)"),
    "the storage refuses": ("PUT /storage", HTTPStatus.FORBIDDEN, "broke (HfHubHTTPError)"),
    "the upload breaks": ("PUT /storage", None, "broke (RemoteProtocolError)"),
    "the commit fails": (
        "POST .*/commit/",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "cannot accept jane/answerer right now: 500",
    ),
    "the commit breaks": ("POST .*/commit/", None, "broke (RemoteProtocolError)"),
}


def test_uploads_that_break_can_be_repeated(finished_run: Path, hub: StandInHub, jane: Client) -> None:
    for name, (pattern, status, message) in FAULTS.items():
        hub.fault = (pattern, status)
        problem, remedy = jane.fails("push", str(finished_run), NAME)
        assert message in problem, name
        assert status == HTTPStatus.BAD_REQUEST or "Run it again: files that arrived are not sent twice" in remedy, name
        assert "signature" not in jane.said, "an address of the storage is as good as a key"
        if not pattern.endswith("repos"):
            assert set(hub.files(NAME)) == {".gitattributes"}, "nothing, or all of it"
    hub.fault = ("(?!)", None)
    hub.requests.clear()
    assert jane("push", str(finished_run), NAME)[0] == 0
    assert set(hub.files(NAME)) > PARTS
    assert not [request for request in hub.requests if request.startswith("PUT")], "the weights had arrived"


def test_a_card_that_the_hub_does_not_accept(finished_run: Path, hub: StandInHub, jane: Client) -> None:
    card = finished_run / "model" / "README.md"
    card.write_text(
        card.read_text(encoding="utf-8").replace("      type: local", "      kind: local"), encoding="utf-8"
    )
    problem, remedy = jane.fails("push", str(finished_run), NAME)
    assert problem.startswith(
        "error: the Hub does not accept the metadata of the model card: Invalid metadata in README.md."
    )
    assert '"model-index.results.dataset.type" is required' in problem
    assert "model/README.md" in remedy
    assert set(hub.files(NAME)) == {".gitattributes"}


@pytest.mark.parametrize(
    ("unanswering", "message"), [(refusing_endpoint, "cannot be reached"), (silent_endpoint, "does not respond")]
)
def test_no_hub(
    unanswering: Callable[[], AbstractContextManager[str]], message: str, finished_run: Path, tmp_path: Path
) -> None:
    with (
        unanswering() as endpoint,
        machine(hub_environ(endpoint, tmp_path / "hf"), tmp_path, timeout=0.5) as jane,
    ):
        problem, remedy = jane.fails("push", str(finished_run), NAME)
        assert f"the Hub at {endpoint} {message}" in problem
        assert "un it again" in remedy


PLAIN = f"""
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
model, info = AutoModelForQuestionAnswering.from_pretrained("{NAME}", output_loading_info=True)
odd = {{key: sorted(value) for key, value in info.items() if key.endswith("_keys") and value}}
print(json.dumps([type(model).__name__, odd, len(AutoTokenizer.from_pretrained("{NAME}"))]))
"""


@pytest.mark.slow
def test_from_the_hub_and_back(tmp_path: Path) -> None:
    """Fine-tune a model of the Hub on data of the Hub, publish it, and evaluate it by its name on another machine."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    rows = "".join(json.dumps(row) + "\n" for row in SQUAD_VALIDATION)
    (there / "dev.jsonl").write_text(rows, encoding="utf-8")
    with StandInHub(tokens={JANE: "jane"}) as hub:
        base, data = add_bert(hub), add_squad(hub)
        with machine(hub.environ(here / "hf"), here) as jane:
            size = ("train.max_steps=2", "train.per_device_train_batch_size=2")
            code, _, err = jane("finetune", "--task", "squad", "-o", "run", *size)
            assert code == 0, err
            assert jane("push", "run", NAME)[:2] == (0, f"{hub.endpoint}/{NAME}\n")
        card = hub.files(NAME)["README.md"].decode()
        with machine(hub.environ(there / "hf"), there) as reader:
            code, scored, err = reader("eval", NAME, "--task", "squad", "--data", "dev.jsonl", "--json", token=None)
            assert code == 0, err
            code, plain, err = reader("-c", PLAIN, token=None)
            assert code == 0, err
    assert json.loads(scored) == json.loads((here / "run" / "metrics.json").read_text())
    kind, odd, vocabulary = json.loads(plain)
    assert (kind, odd) == ("BertForQuestionAnswering", {})
    assert vocabulary > 100
    metadata = ModelCard(card).data
    assert (metadata.base_model, metadata.datasets) == ("google-bert/bert-base-uncased", ["rajpurkar/squad"])
    assert {result.dataset_revision for result in metadata.eval_results} == {data}
    assert f"bert-base-uncased) at commit `{base[:10]}`" in card
    for file in (here / "run").rglob("*"):
        assert not file.is_file() or JANE.encode() not in file.read_bytes()
