"""The stand-in Hub behaves as huggingface_hub, datasets and transformers expect of the real one."""

import hashlib
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standin_hub import (
    ENGLISH_ARTICLES,
    PARQUET_BRANCH,
    SENTENCES,
    SIMPLE_ARTICLES,
    SQUAD_TRAIN,
    SQUAD_V2_VALIDATION,
    SQUAD_VALIDATION,
    StandInHub,
    add_bert,
    add_bookcorpus,
    add_squad,
    add_squad_v2,
    add_wikipedia,
    hub_environ,
    refusing_endpoint,
    silent_endpoint,
)

pytestmark = pytest.mark.oldest

# Every probe is a script that fills `seen`; an error is seen as the names of its classes and its message.
PROBE = """
import json
seen = {}

def see(name, call):
    try:
        seen[name] = call()
    except Exception as error:
        cause = type(error.__cause__).__name__
        classes = [cls.__name__ for cls in type(error).__mro__]
        seen[name] = {"classes": classes, "cause": cause, "message": str(error)}
"""

DATASETS_PROBE = """
from datasets import load_dataset, load_dataset_builder
from huggingface_hub import HfApi, HfFileSystem

BRANCH = "refs/convert/parquet"
WIKI, BOOKS, SQUAD, GATED = "wikimedia/wikipedia", "bookcorpus/bookcorpus", "rajpurkar/squad", "acme/gated"

def stream(*args, split="train", **kwargs):
    return list(load_dataset(*args, split=split, streaming=True, **kwargs))

see("wikipedia", lambda: stream(WIKI, "20231101.en"))
see("wikipedia, files", lambda: load_dataset(WIKI, "20231101.en", split="train", streaming=True).num_shards)
see("wikipedia, simple", lambda: stream(WIKI, "20231101.simple"))
see("wikipedia, no config", lambda: stream(WIKI))
see("squad, declared", lambda: [s.num_examples for s in load_dataset_builder(SQUAD).info.splits.values()])
see("squad", lambda: {split: list(rows) for split, rows in load_dataset(SQUAD).items()})
see("squad_v2", lambda: stream("rajpurkar/squad_v2", split="validation"))
see("books, main", lambda: list(load_dataset(BOOKS, split="train")))
see("books, main, streamed", lambda: stream(BOOKS))
see("books, streamed", lambda: stream(BOOKS, revision=BRANCH))
see("books, config", lambda: stream(BOOKS, "plain_text", revision=BRANCH))
see("books", lambda: list(load_dataset(BOOKS, revision=BRANCH, split="train")))
see("missing", lambda: stream("nobody/nothing"))
see("missing revision", lambda: stream(SQUAD, revision="v9"))
see("gated", lambda: stream(GATED))
see("gated, with a token", lambda: stream(GATED, token="hf_stranger"))

api = HfApi()
see("sha", lambda: api.dataset_info(SQUAD).sha)
see("sha, branch", lambda: api.dataset_info(BOOKS, revision=BRANCH).sha)
see("sha, commit", lambda: api.dataset_info(SQUAD, revision=seen["sha"]).sha)
see("info, missing", lambda: api.dataset_info("nobody/nothing").sha)
see("info, missing, with a token", lambda: api.dataset_info("nobody/nothing", token="hf_stranger").sha)
see("info, missing revision", lambda: api.dataset_info(SQUAD, revision="v9").sha)
see("info, gated", lambda: api.dataset_info(GATED).gated)
see("file, missing", lambda: api.hf_hub_download(SQUAD, "nothing.txt", repo_type="dataset"))
see("file, gated", lambda: api.hf_hub_download(GATED, "README.md", repo_type="dataset"))
see("paths", lambda: [entry.path for entry in api.get_paths_info(SQUAD, ["README.md"], repo_type="dataset")])
see("snapshot", lambda: api.snapshot_download(SQUAD, repo_type="dataset"))

def last_bytes():
    path = f"datasets/{SQUAD}/plain_text/train-00000-of-00001.parquet"
    with HfFileSystem().open(path, block_size=8) as file:
        file.seek(-4, 2)
        return file.read(4).decode()

see("the last bytes", last_bytes)
"""

TRANSFORMERS_PROBE = """
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForQuestionAnswering, AutoTokenizer

BERT = "google-bert/bert-base-uncased"
see("tokens", lambda: AutoTokenizer.from_pretrained(BERT)("A b!").tokens())
see("mask id", lambda: AutoTokenizer.from_pretrained(BERT).mask_token_id)

def load(auto):
    model, info = auto.from_pretrained(BERT, output_loading_info=True)
    model(model.dummy_inputs["input_ids"])
    return {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}

see("masked LM", lambda: load(AutoModelForMaskedLM))
see("question answering", lambda: load(AutoModelForQuestionAnswering))
see("missing", lambda: AutoConfig.from_pretrained("nobody/nothing"))
see("gated", lambda: AutoConfig.from_pretrained("acme/gated"))
see("missing revision", lambda: AutoConfig.from_pretrained(BERT, revision="v9"))
"""

UNREACHABLE_PROBE = """
from huggingface_hub import HfApi
see("info", lambda: HfApi().dataset_info("rajpurkar/squad", timeout=0.5))
"""


def probe(script: str, env: dict[str, str]) -> dict[str, Any]:
    """What `script` saw, run in a process of its own."""
    code = PROBE + script + "\nprint(json.dumps(seen))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    with StandInHub() as hub:
        add_wikipedia(hub)
        add_bookcorpus(hub)
        add_squad(hub)
        add_squad_v2(hub)
        hub.add_dataset("acme/gated", {"README.md": b"# Gated\n", "train.csv": b"text\nhi\n"}, gated=True)
        hub.add_model("acme/gated", {"config.json": b"{}"}, gated=True)
        yield hub


@pytest.fixture(scope="module")
def datasets_saw(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return probe(DATASETS_PROBE, hub.environ(tmp_path_factory.mktemp("hf_home")))


@pytest.fixture(scope="module")
def transformers_saw(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    add_bert(hub)
    return probe(TRANSFORMERS_PROBE, hub.environ(tmp_path_factory.mktemp("hf_home")))


def test_wikipedia_streams_file_by_file(datasets_saw: dict[str, Any]) -> None:
    assert datasets_saw["wikipedia"] == ENGLISH_ARTICLES
    assert datasets_saw["wikipedia, files"] == 2
    assert datasets_saw["wikipedia, simple"] == SIMPLE_ARTICLES
    assert "Config name is missing" in datasets_saw["wikipedia, no config"]["message"]


def test_squad_loads_as_it_is(datasets_saw: dict[str, Any]) -> None:
    assert datasets_saw["squad"] == {"train": SQUAD_TRAIN, "validation": SQUAD_VALIDATION}
    assert datasets_saw["squad, declared"] == [len(SQUAD_TRAIN), len(SQUAD_VALIDATION)]
    assert datasets_saw["squad_v2"] == SQUAD_V2_VALIDATION
    assert datasets_saw["squad_v2"][-1]["answers"] == {"text": [], "answer_start": []}


@pytest.mark.parametrize("call", ["books, main", "books, main, streamed"])
def test_bookcorpus_main_is_a_script_that_datasets_refuses(datasets_saw: dict[str, Any], call: str) -> None:
    message = "Dataset scripts are no longer supported, but found bookcorpus.py"
    assert datasets_saw[call]["classes"][0] == "RuntimeError"
    assert datasets_saw[call]["message"] == message


def test_bookcorpus_loads_from_its_parquet_branch(datasets_saw: dict[str, Any]) -> None:
    assert datasets_saw["books, streamed"] == datasets_saw["books"] == SENTENCES
    # Without a README there is nothing to name a config after the folder plain_text.
    assert datasets_saw["books, config"]["message"] == "BuilderConfig 'plain_text' not found. Available: ['default']"


def test_revisions_have_commit_hashes(hub: StandInHub, datasets_saw: dict[str, Any]) -> None:
    squad, books = datasets_saw["sha"], datasets_saw["sha, branch"]
    assert squad == datasets_saw["sha, commit"] == add_squad(hub)
    assert books == add_bookcorpus(hub)
    assert all(len(sha) == 40 and int(sha, 16) for sha in (squad, books))
    assert Path(datasets_saw["snapshot"]).name == squad


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("missing", "DatasetNotFoundError"),
        ("missing revision", "DatasetNotFoundError"),
        ("gated", "DatasetNotFoundError"),
        ("gated, with a token", "DatasetNotFoundError"),
        ("info, missing", "RepositoryNotFoundError"),
        ("info, missing, with a token", "RepositoryNotFoundError"),
        ("info, missing revision", "RevisionNotFoundError"),
        ("file, missing", "RemoteEntryNotFoundError"),
        ("file, gated", "GatedRepoError"),
    ],
)
def test_errors_are_the_hubs(datasets_saw: dict[str, Any], call: str, error: str) -> None:
    assert datasets_saw[call]["classes"][0] == error


def test_a_gated_repository_describes_itself_to_everyone(datasets_saw: dict[str, Any]) -> None:
    assert datasets_saw["info, gated"] == "auto"
    assert "must be authenticated" in datasets_saw["gated"]["message"]  # 401
    assert "to ask for access" in datasets_saw["gated, with a token"]["message"]  # 403


def test_parts_of_files_and_lists_of_files(datasets_saw: dict[str, Any]) -> None:
    assert datasets_saw["the last bytes"] == "PAR1"
    assert datasets_saw["paths"] == ["README.md"]


def test_bert_loads_as_the_real_checkpoint_does(transformers_saw: dict[str, Any]) -> None:
    assert transformers_saw["tokens"] == ["[CLS]", "a", "b", "!", "[SEP]"]
    assert transformers_saw["mask id"] == 103
    masked_lm, qa = transformers_saw["masked LM"], transformers_saw["question answering"]
    assert masked_lm["missing_keys"] == masked_lm["mismatched_keys"] == []
    assert "cls.seq_relationship.weight" in masked_lm["unexpected_keys"]
    assert qa["missing_keys"] == ["qa_outputs.bias", "qa_outputs.weight"]


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        ("missing", "RepositoryNotFoundError"),
        ("gated", "GatedRepoError"),
        ("missing revision", "RevisionNotFoundError"),
    ],
)
def test_transformers_wraps_the_hubs_errors(transformers_saw: dict[str, Any], call: str, cause: str) -> None:
    assert (transformers_saw[call]["classes"][0], transformers_saw[call]["cause"]) == ("OSError", cause)


def test_an_endpoint_that_refuses(tmp_path: Path) -> None:
    with refusing_endpoint() as endpoint:
        seen = probe(UNREACHABLE_PROBE, hub_environ(endpoint, tmp_path))
    assert seen["info"]["classes"][0] == "ConnectError"


def test_an_endpoint_that_is_silent(tmp_path: Path) -> None:
    with silent_endpoint() as endpoint:
        seen = probe(UNREACHABLE_PROBE, hub_environ(endpoint, tmp_path))
    assert seen["info"]["classes"][0] == "ReadTimeout"


# Without the libraries: what they never ask for, or ask for in a way that would hide a wrong answer.


@pytest.fixture
def letters() -> Iterator[StandInHub]:
    with StandInHub() as hub:
        hub.add_dataset("acme/letters", {"letters.txt": b"abcdef", "a/b/deep.txt": b"x"}, revision=PARQUET_BRANCH)
        yield hub


def ask(
    hub: StandInHub, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=5)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    answer = response.status, response.read(), response.headers
    connection.close()
    return answer


LETTERS = "/datasets/acme/letters/resolve/refs%2Fconvert%2Fparquet/letters.txt"


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=1-3", 206, b"bcd", "bytes 1-3/6"),
        ("bytes=4-", 206, b"ef", "bytes 4-5/6"),
        ("bytes=-2", 206, b"ef", "bytes 4-5/6"),
        ("bytes=-9", 206, b"abcdef", "bytes 0-5/6"),
        ("bytes=4-99", 206, b"ef", "bytes 4-5/6"),
        ("bytes=6-", 416, b"", "bytes */6"),
    ],
)
def test_ranges(letters: StandInHub, asked: str, status: int, body: bytes, content_range: str) -> None:
    got_status, got_body, headers = ask(letters, LETTERS, headers={"Range": asked})
    assert (got_status, got_body, headers["Content-Range"]) == (status, body, content_range)


def test_head_answers_as_get_without_the_body(letters: StandInHub) -> None:
    _, _, head_headers = ask(letters, LETTERS, method="HEAD")
    _, body, headers = ask(letters, LETTERS)
    assert body == b"abcdef"
    for name in ("ETag", "X-Repo-Commit", "Content-Length"):
        assert head_headers[name] == headers[name] is not None

    # http.client reads no body after HEAD, whatever is sent: look at the bytes.
    host, port = letters.endpoint.removeprefix("http://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as connection,
        connection.makefile("rb") as reply,
    ):
        connection.sendall(f"HEAD {LETTERS} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert reply.read().endswith(b"\r\n\r\n")


def test_trees(letters: StandInHub) -> None:
    def paths(request: str) -> list[str]:
        _, body, _ = ask(letters, f"/api/datasets/acme/letters/tree/refs%2Fconvert%2Fparquet{request}")
        return [entry["path"] for entry in json.loads(body)]

    assert paths("?recursive=false") == ["a", "letters.txt"]
    assert paths("?recursive=true") == ["a", "a/b", "a/b/deep.txt", "letters.txt"]
    assert paths("/a%2Fb?recursive=false") == ["a/b/deep.txt"]


def test_a_branch_is_the_only_one_that_was_added(letters: StandInHub) -> None:
    status, _, headers = ask(letters, "/datasets/acme/letters/resolve/main/letters.txt")
    assert (status, headers["X-Error-Code"]) == (404, "RevisionNotFound")


def test_nobody_is_logged_in(letters: StandInHub) -> None:
    status, _, _ = ask(letters, "/api/whoami-v2")
    assert status == 401


def test_requests_are_recorded_in_order(letters: StandInHub) -> None:
    assert letters.requests == []
    ask(letters, LETTERS, method="HEAD")
    ask(letters, "/api/models/nobody/nothing?a=b")
    assert letters.requests == [f"HEAD {LETTERS}", "GET /api/models/nobody/nothing?a=b"]


# What it takes. The rest of it is tested by what pushes to it.

JANE = {"Authorization": "Bearer hf_jane"}


@pytest.fixture
def janes() -> Iterator[StandInHub]:
    with StandInHub(tokens={"hf_jane": "jane"}) as hub:
        hub.add_model("jane/model", {"a.txt": b"a"})
        hub.add_model("acme/model", {})
        yield hub


def tell(
    hub: StandInHub, path: str, *body: object, method: str = "POST", headers: dict[str, str] = JANE
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=5)
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in body]
    connection.request(method, path, body=b"\n".join(lines), headers=headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


HEADER = {"key": "header", "value": {"summary": "a change", "description": ""}}
COMMITS: dict[str, tuple[dict[str, Any], int]] = {
    "a file": ({"key": "file", "value": {"path": "b.txt", "content": "Yg==", "encoding": "base64"}}, 200),
    "a file less": ({"key": "deletedFile", "value": {"path": "a.txt"}}, 200),
    "a file that is not there": ({"key": "deletedFile", "value": {"path": "b.txt"}}, 404),
    "a large file that never came": ({"key": "lfsFile", "value": {"path": "b", "oid": "00", "size": 1}}, 400),
    "something else": ({"key": "rename", "value": {}}, 400),
}


@pytest.mark.parametrize("name", COMMITS)
def test_commits(name: str, janes: StandInHub) -> None:
    operation, expected = COMMITS[name]
    status, answer = tell(janes, "/api/models/jane/model/commit/main", HEADER, operation)
    assert status == expected
    files = {"a file": {"a.txt": b"a", "b.txt": b"b"}, "a file less": {}}.get(name, {"a.txt": b"a"})
    assert janes.files("jane/model") == files
    if status == 200:
        _, body, _ = ask(janes, "/api/models/jane/model")
        assert json.loads(body)["sha"] == answer["commitOid"]


def test_large_files_are_what_their_names_say(janes: StandInHub) -> None:
    right, wrong = hashlib.sha256(b"large").hexdigest(), hashlib.sha256(b"small").hexdigest()
    assert tell(janes, f"/storage/{wrong}", b"large", method="PUT")[0] == 400
    verify = "/jane/model.git/info/lfs/verify"
    assert tell(janes, verify, {"oid": right, "size": 5})[0] == 404
    assert tell(janes, f"/storage/{right}", b"large", method="PUT")[0] == 200
    assert tell(janes, verify, {"oid": right, "size": 5})[0] == 200
    wanted = {"objects": [{"oid": right, "size": 5}, {"oid": wrong, "size": 5}]}
    _, answer = tell(janes, "/jane/model.git/info/lfs/objects/batch", wanted)
    assert ["actions" in found for found in answer["objects"]] == [False, True]


WRITES = ("/api/models/{}/preupload/main", "/api/models/{}/commit/main", "/{}.git/info/lfs/objects/batch")


@pytest.mark.parametrize("path", WRITES)
def test_who_may_write(path: str, janes: StandInHub) -> None:
    own, foreign = path.format("jane/model"), path.format("acme/model")
    assert tell(janes, own, {}, headers={})[0] == 401
    assert tell(janes, own, {}, headers={"Authorization": "Bearer hf_nobody"})[0] == 401
    assert tell(janes, own, {}, headers={"Authorization": "Bearer hf_stranger"})[0] == 403
    assert tell(janes, foreign, {})[0] == 403


def test_repositories_are_made_once(janes: StandInHub) -> None:
    create = "/api/repos/create"
    assert tell(janes, create, {"name": "new", "organization": None}) == (200, {"url": f"{janes.endpoint}/jane/new"})
    assert tell(janes, create, {"name": "new", "organization": "jane"})[0] == 409
    assert tell(janes, create, {"name": "new", "organization": "acme"})[0] == 403
    tell(janes, create, {"name": "own", "organization": "jane", "visibility": "private"})
    assert ask(janes, "/api/models/jane/own")[0] == 401
    assert ask(janes, "/api/models/jane/own", headers={"Authorization": "Bearer hf_stranger"})[0] == 404
    assert ask(janes, "/api/models/jane/own", headers=JANE)[0] == 200


@pytest.mark.parametrize(
    ("card", "errors"),
    [
        ("---\nlanguage: en\n---\n# A\n", 0),
        ("---\nlanguage: 3\n---\n# A\n", 1),
        ("---\na: [\n---\n# A\n", 1),
        ("---\nmodel-index:\n- results: [{task: {type: x}, dataset: {name: y}, metrics: [{type: f1}]}]\n---\n", 3),
    ],
)
def test_heads_of_cards(card: str, errors: int, janes: StandInHub) -> None:
    status, answer = tell(janes, "/api/validate-yaml", {"content": card, "repoType": "model"})
    assert (status, len(answer["errors"])) == (400 if errors else 200, errors)


def test_a_hub_that_went_away_answers_nobody() -> None:
    with StandInHub() as hub:
        kept_alive = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=5)
        kept_alive.request("GET", "/api/whoami-v2")
        kept_alive.getresponse().read()
    kept_alive.auto_open = 0  # no second connection in silence
    with pytest.raises(ConnectionError):  # noqa: PT012 - either call may be the one that notices
        kept_alive.request("GET", "/api/whoami-v2")
        kept_alive.getresponse()
    with pytest.raises(ConnectionRefusedError):
        ask(hub, "/api/whoami-v2")
