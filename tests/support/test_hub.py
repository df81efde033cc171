"""The stand-in Hub behaves as huggingface_hub, datasets and transformers expect of the real one."""

import hashlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.hub import StandInHub
from support.hub_repos import (
    SENTENCES,
    SQUAD_TRAIN,
    SQUAD_V2_VALIDATION,
    SQUAD_VALIDATION,
    add_bert,
    add_bookcorpus,
    add_squad,
    add_squad_v2,
)

# A script that fills `seen`; an error is seen as its class, the class of its cause, and its message.
PROBE = """
import json
from datasets import load_dataset
from huggingface_hub import HfApi
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForQuestionAnswering, AutoTokenizer

BERT = "google-bert/bert-base-uncased"
BOOKS, SQUAD, GATED = "bookcorpus/bookcorpus", "rajpurkar/squad", "acme/gated"
seen, api = {}, HfApi()

def see(name, call):
    try:
        seen[name] = call()
    except Exception as error:
        seen[name] = [type(error).__name__, type(error.__cause__).__name__, str(error)]

def stream(*args, split="train", **kwargs):
    return list(load_dataset(*args, split=split, streaming=True, **kwargs))

def odd_keys(auto):
    _, info = auto.from_pretrained(BERT, output_loading_info=True)
    return {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}

see("squad", lambda: {split: list(rows) for split, rows in load_dataset(SQUAD).items()})
see("squad_v2", lambda: stream("rajpurkar/squad_v2", split="validation"))
see("books", lambda: stream(BOOKS, revision="refs/convert/parquet"))
see("missing", lambda: stream("nobody/nothing"))
see("gated", lambda: stream(GATED))
see("gated, with a token", lambda: stream(GATED, token="hf_stranger"))
see("sha", lambda: api.dataset_info(SQUAD).sha)
see("sha, branch", lambda: api.dataset_info(BOOKS, revision="refs/convert/parquet").sha)
see("sha, commit", lambda: api.dataset_info(SQUAD, revision=seen["sha"]).sha)
see("info, missing", lambda: api.dataset_info("nobody/nothing"))
see("info, missing, with a token", lambda: api.dataset_info("nobody/nothing", token="hf_stranger"))
see("info, missing revision", lambda: api.dataset_info(SQUAD, revision="v9"))
see("info, gated", lambda: api.dataset_info(GATED).gated)
see("file, missing", lambda: api.hf_hub_download(SQUAD, "nothing.txt", repo_type="dataset"))
see("file, gated", lambda: api.hf_hub_download(GATED, "README.md", repo_type="dataset"))
see("tokens", lambda: AutoTokenizer.from_pretrained(BERT)("A b!").tokens())
see("masked LM", lambda: odd_keys(AutoModelForMaskedLM))
see("question answering", lambda: odd_keys(AutoModelForQuestionAnswering))
see("model, missing revision", lambda: AutoConfig.from_pretrained(BERT, revision="v9"))
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with StandInHub() as hub:
        commits = [add(hub) for add in (add_squad, add_bookcorpus, add_squad_v2, add_bert)]
        hub.add_dataset("acme/gated", {"README.md": b"# Gated\n", "train.csv": b"text\nhi\n"}, gated=True)
        environ = hub.environ(tmp_path_factory.mktemp("hf"))
        done = subprocess.run([sys.executable, "-c", PROBE], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {"commits": commits, **json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.slow
def test_data_sets_load_as_they_are(seen: dict[str, Any]) -> None:
    assert seen["squad"] == {"train": SQUAD_TRAIN, "validation": SQUAD_VALIDATION}
    assert seen["squad_v2"] == SQUAD_V2_VALIDATION
    assert seen["books"] == SENTENCES


@pytest.mark.slow
def test_revisions_have_commit_hashes(seen: dict[str, Any]) -> None:
    assert [seen["sha"], seen["sha, branch"]] == seen["commits"][:2]
    assert (seen["sha, commit"], len(seen["sha"])) == (seen["sha"], 40)


ERRORS = {
    "missing": "DatasetNotFoundError",
    "info, missing": "RepositoryNotFoundError",
    "info, missing, with a token": "RepositoryNotFoundError",
    "info, missing revision": "RevisionNotFoundError",
    "file, missing": "RemoteEntryNotFoundError",
    "file, gated": "GatedRepoError",
    "model, missing revision": "RevisionNotFoundError",
}


@pytest.mark.slow
@pytest.mark.parametrize("call", ERRORS)
def test_errors_are_the_hubs(call: str, seen: dict[str, Any]) -> None:
    assert ERRORS[call] in seen[call][:2], "transformers wraps the errors of huggingface_hub"


@pytest.mark.slow
def test_a_gated_repository_describes_itself_to_everyone(seen: dict[str, Any]) -> None:
    assert seen["info, gated"] == "auto"
    assert "must be authenticated" in seen["gated"][2]  # 401
    assert "to ask for access" in seen["gated, with a token"][2]  # 403


@pytest.mark.slow
def test_bert_loads_as_the_real_one_does(seen: dict[str, Any]) -> None:
    assert seen["tokens"] == ["[CLS]", "A", "b", "!", "[SEP]"]
    assert seen["masked LM"]["missing_keys"] == seen["masked LM"]["mismatched_keys"] == []
    assert "cls.seq_relationship.weight" in seen["masked LM"]["unexpected_keys"]
    assert seen["question answering"]["missing_keys"] == ["qa_outputs.bias", "qa_outputs.weight"]


# Without the libraries: where a wrong answer would not show, and what a push that works never meets.

JANE, STRANGER = ({"Authorization": f"Bearer hf_{name}"} for name in ("jane", "stranger"))


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with StandInHub(tokens={"hf_jane": "jane"}) as hub:
        hub.add_model("jane/model", {"a.txt": b"abcdef", "b/c/d.txt": b"d"})
        yield hub


def ask(hub: StandInHub, method: str, path: str, headers: dict[str, str], *body: Any) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=5)
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in body]
    connection.request(method, path, b"\n".join(lines), headers)
    response = connection.getresponse()
    assert hub.requests[-1] == f"{method} {path}"
    return response.status, response.read(), response.headers


def test_parts_and_heads_of_files(hub: StandInHub) -> None:
    path = "/jane/model/resolve/main/a.txt"
    status, body, headers = ask(hub, "GET", path, {"Range": "bytes=4-99"})
    assert (status, body, headers["Content-Range"]) == (206, b"ef", "bytes 4-5/6")
    _, body, headers = ask(hub, "GET", path, {})
    _, _, head = ask(hub, "HEAD", path, {})
    assert body == b"abcdef"
    for name in ("ETag", "X-Repo-Commit", "Content-Length"):
        assert head[name] == headers[name] is not None


def test_trees(hub: StandInHub) -> None:
    def paths(what: str) -> list[str]:
        _, body, _ = ask(hub, "GET", f"/api/models/jane/model/tree/main{what}", {})
        return [entry["path"] for entry in json.loads(body)]

    assert paths("?recursive=false") == ["a.txt", "b"]
    assert paths("?recursive=true") == ["a.txt", "b", "b/c", "b/c/d.txt"]
    assert paths("/b%2Fc?recursive=false") == ["b/c/d.txt"]


def test_who_may_write_and_see(hub: StandInHub) -> None:
    model = "/api/models/jane/model"
    for path in (f"{model}/preupload/main", f"{model}/commit/main", "/jane/model.git/info/lfs/objects/batch"):
        assert ask(hub, "POST", path, {}, {})[0] == 401
        assert ask(hub, "POST", path, {"Authorization": "Bearer hf_nobody"}, {})[0] == 401
        assert ask(hub, "POST", path, STRANGER, {})[0] == 403
    own = {"name": "own", "organization": "jane", "visibility": "private"}
    assert [ask(hub, "POST", "/api/repos/create", who, own)[0] for who in (STRANGER, JANE, JANE)] == [403, 200, 409]
    assert [ask(hub, "GET", "/api/models/jane/own", who)[0] for who in ({}, STRANGER, JANE)] == [401, 404, 200]


def test_a_commit_is_all_or_nothing(hub: StandInHub) -> None:
    path, before = "/api/models/jane/model/commit/main", hub.files("jane/model")
    new = {"key": "file", "value": {"path": "b.txt", "content": "Yg=="}}
    missing = {"key": "lfsFile", "value": {"path": "c.bin", "oid": hashlib.sha256(b"c").hexdigest()}}
    absent = {"key": "deletedFile", "value": {"path": "none.txt"}}
    for bad in (missing, absent, {"key": "rename", "value": {}}):
        assert ask(hub, "POST", path, JANE, new, bad)[0] == 400
        assert hub.files("jane/model") == before
    oid = missing["value"]["oid"]
    assert ask(hub, "PUT", f"/storage/{oid}", {}, b"other")[0] == 400
    assert ask(hub, "PUT", f"/storage/{oid}", {}, b"c")[0] == 200
    status, answer, _ = ask(hub, "POST", path, JANE, new, missing, {**absent, "value": {"path": "a.txt"}})
    assert hub.files("jane/model") == {"b/c/d.txt": b"d", "b.txt": b"b", "c.bin": b"c"}
    _, body, _ = ask(hub, "GET", "/api/models/jane/model", {})
    assert (status, json.loads(body)["sha"]) == (200, json.loads(answer)["commitOid"])


INCOMPLETE = "model-index:\n- results: [{task: {type: x}, dataset: {name: y}, metrics: [{type: f1}]}]"


@pytest.mark.parametrize(("head", "errors"), [("language: en", 0), ("language: 3", 1), ("a: [", 1), (INCOMPLETE, 3)])
def test_heads_of_cards(head: str, errors: int, hub: StandInHub) -> None:
    status, body, _ = ask(hub, "POST", "/api/validate-yaml", {}, {"content": f"---\n{head}\n---\n"})
    assert (status, len(json.loads(body)["errors"])) == (400 if errors else 200, errors)
