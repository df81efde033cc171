"""The HTTP interface: what it answers for every kind of task, and what it refuses."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from support import Command, quick_or_slow
from support.models import write_model, write_writer
from support.served import QUESTION, client, first_word, made_up

from llmkit.commands.predict import predict_in_memory
from llmkit.commands.serve import prepare
from llmkit.serving.limits import Limits
from llmkit.tasks.columns import Columns
from llmkit.tasks.settings import settings_of

LONG = "Ines built the lamp & left in 1874. " * 12  # longer than the models read
# Of each task: what is sent, and the row that `predict` reads.
ASKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "squad": ({"question": "Who left?", "context": LONG}, {"question": "Who left?", "context": LONG}),
    "natural_questions": ({"question": "Who left?", "context": LONG}, {"question": "Who left?", "context": LONG}),
    "squad_v2": ({"question": "Who left?", "context": LONG}, {"question": "Who left?", "context": LONG}),
    "classification": ({"text": LONG}, {"text": LONG}),
    "multilabel": ({"text": "A lamp."}, {"text": "A lamp."}),
    "glue/qnli": ({"text": "Who left?", "pair": LONG}, {"question": "Who left?", "sentence": LONG}),
    "regression": ({"text": "A lamp."}, {"text": "A lamp."}),
    "similarity": ({"text": "A lamp.", "pair": "A light."}, {"sentence1": "A lamp.", "sentence2": "A light."}),
    "ner": ({"text": LONG}, {"text": LONG}),
    "translation": ({"source": "A dog runs."}, {"en": "A dog runs."}),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for task in ASKED:
        write_writer(folder / task) if task == "translation" else write_model(folder / task, task)
    return folder


@pytest.mark.parametrize(
    "task", quick_or_slow(ASKED, ("classification", "regression", "similarity", "ner", "translation"))
)
def test_every_kind_is_answered_as_predict_does(task: str, models: Path) -> None:
    sent, row = ASKED[task]
    settings = settings_of(str(models / task), None, "rows")
    (expected,) = predict_in_memory(settings, "rows", [row])
    values = expected.as_row()
    with client(prepare(str(models / task), None, [], int8=False)) as server:
        answer = server.post("/predict", json=sent)
        assert answer.status_code == 200, answer.text
        both = server.post("/predict/batch", json={"inputs": [sent, sent]}).json()["predictions"]
        described = server.get("/openapi.json").json()
    found = answer.json()
    if task in ("regression", "similarity"):
        assert [each["number"] for each in (found, *both)] == pytest.approx([float(expected.text)] * 3, rel=1e-4)
    else:
        assert [each["text"] for each in (found, *both)] == [expected.text] * 3
        assert found["score"] == pytest.approx(expected.score, abs=1e-5)
    for name in {"start", "end", "null_score"} & found.keys():
        assert found[name] == pytest.approx(values[name], abs=1e-4)
    if "candidates" in found:
        assert [each["text"] for each in found["candidates"]] == [each.text for each in expected.candidates]
    if "entities" in found:
        assert [each["text"] for each in found["entities"]] == [each["text"] for each in values["entities"]]
        assert " ".join(each["tag"] for each in found["words"]) == expected.text
        assert all(LONG[each["start"] : each["end"]] == each["text"] for each in found["words"])
    # The documentation is of this model.
    schema = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert sent.keys() <= described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"].keys()
    assert ("/explain" in described["paths"]) == (task not in ("similarity", "translation"))


def test_it_answers_as_ask_does(models: Path, llmkit: Command) -> None:
    question = ASKED["squad"][0]
    code, out, _ = llmkit("ask", str(models / "squad"), "-q", "Who left?", "-c", LONG, "--json")
    assert code == 0
    expected = json.loads(out)
    with client(prepare(str(models / "squad"), None, [], int8=False)) as server:
        found = server.post("/predict", json=question).json()
    assert {name: found[name] for name in ("text", "start", "end", "line")} == {
        name: expected[name] for name in ("text", "start", "end", "line")
    }
    assert found["candidates"] == [
        {**each, "score": pytest.approx(each["score"]), "probability": pytest.approx(each["probability"])}
        for each in expected["candidates"]
    ]


def test_words_in_place_of_a_text(models: Path) -> None:
    with client(prepare(str(models / "ner"), None, [], int8=False)) as server:
        found = server.post("/predict", json={"words": ["Ines", "left", "."]}).json()
        neither = server.post("/predict", json={})
    assert [(each["text"], each["start"]) for each in found["words"]] == [("Ines", 0), ("left", 5), (".", 10)]
    assert neither.status_code == 422
    assert "give either a text or its words" in neither.text


def test_why(models: Path) -> None:
    pytest.importorskip("captum")
    with client(prepare(str(models / "classification"), None, [], int8=False)) as server:
        answer = server.post("/predict", json={"text": "Ines left."}).json()
        why = server.post("/explain", json={"text": "Ines left."}).json()
    assert why["answer"] == answer["text"]
    text = why["texts"][0]["text"]
    assert [text[each["start"] : each["end"]] for each in why["words"]] == ["Ines", "left", "."]
    assert why["error"] <= 0.01


@pytest.mark.parametrize(
    ("task", "change", "reason"),
    [("translation", None, "many choices"), ("squad", "captum", "needs captum: pip install")],
)
def test_without_a_why_it_says_the_reason(
    task: str, change: str | None, reason: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.commands.serve.find_spec", lambda name: None if name == change else name)
    with client(prepare(str(models / task), None, [], int8=False)) as server:
        assert reason in server.get("/info").json()["no_why"]
        assert server.post("/explain", json=ASKED[task][0]).status_code == 404


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"", 422, "the body"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, ""),
        (b"[" * 70_000, 400, ""),
        (b"null", 422, "the body"),
        (b"[]", 422, "valid dictionary"),
        (b'{"question": "Who?"}', 422, "context: Field required"),
        (b'{"question": 3, "context": "x"}', 422, "question: Input should be a valid string"),
        (b'{"question": "Who?", "context": null}', 422, "context"),
        (b'{"question": "Who?", "context": "x", "more": 1}', 422, "more: Extra inputs"),
        (b'{"question": "\\ud800", "context": "x"}', 422, "question"),
        (b'{"question": " ", "context": "x"}', 422, "'question' is empty"),
        (b'{"question": "Who?", "context": "\\n\\t"}', 422, "'context' is empty"),
        (b'{"question": NaN, "context": 1e999}', 422, "question"),
        (b'{"question": ' + b"9" * 6000 + b', "context": "x"}', 400, ""),
        (b'{"question": "Who?", "context": "' + b"x" * 2000 + b'"}', 413, "2,004 characters of text"),
        (b"x" * 80_000, 413, "larger than 71,536 bytes"),
    ],
)
def test_garbage_is_refused_in_one_form(body: bytes, status: int, problem: str) -> None:
    with client(made_up(first_word), Limits(characters=1000)) as server:
        answer = server.post("/predict", content=body, headers=JSON)
        assert server.post("/predict", json=QUESTION).json()["text"] == "Ann"
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["status"] == status
    assert problem in " ".join(error["problems"])
    assert error["remedy"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/predict", {}, 405),
        ("POST", "/nowhere", JSON, 404),
        ("PUT", "/", {}, 405),
        ("POST", "/predict", {"Content-Type": "text/plain"}, 415),
        ("GET", "/info", {"Host": "elsewhere.example"}, 421),
        ("GET", "/..%2f..%2fetc/passwd", {}, 404),
    ],
)
def test_other_requests_are_refused_in_the_same_form(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    with client(made_up(first_word)) as server:
        answer = server.request(method, path, headers=headers, content=b"{}")
    assert (answer.status_code, answer.json()["error"]["status"]) == (status, status)


def test_the_inputs_of_a_batch_are_named(models: Path) -> None:
    inputs = [QUESTION, {**QUESTION, "context": " "}]
    with client(made_up(first_word)) as server:
        bad = server.post("/predict/batch", json={"inputs": inputs})
        most = server.post("/predict/batch", json={"inputs": [QUESTION] * 257})
        none = server.post("/predict/batch", json={"inputs": []})
    assert bad.json()["error"]["problems"] == ["input 2: 'context' is empty or not text"]
    assert (most.status_code, none.status_code) == (422, 422)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((name, 200) for name in ("localhost:8000", "LOCALHOST", "[::1]:80", "[::1]", "127.0.0.1")),
        *((name, 421) for name in ("elsewhere.example", "localhost.example:80", "[", "")),
    ],
)
def test_by_which_name_a_server_on_localhost_is_reached(host: str, status: int) -> None:
    with client(made_up(first_word)) as server:
        assert server.get("/info", headers={"Host": host}).status_code == status
    with client(made_up(first_word), host="0.0.0.0") as server:
        assert server.get("/info", headers={"Host": host}).status_code == 200


def test_a_token() -> None:
    with client(made_up(first_word), token="geheim-ü", host="0.0.0.0") as server:
        assert server.get("/").status_code == server.get("/health").status_code == 200
        for path in ("/info", "/metrics"):
            refused = server.get(path)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        described = server.get("/openapi.json").json()
        wrong = server.post("/predict", json=QUESTION, headers={"Authorization": "Bearer geheim"})
        right = server.post("/predict", json=QUESTION, headers={"Authorization": "Bearer geheim-ü".encode()})
    assert (wrong.status_code, right.status_code) == (401, 200)
    paths = described["paths"].items()
    free = {path for path, operations in paths for each in operations.values() if "security" not in each}
    assert (free, described["components"]["securitySchemes"]["token"]["scheme"]) == ({"/health"}, "bearer")


def test_a_late_answer_and_a_full_queue() -> None:
    go = threading.Event()

    def slow(examples: Columns) -> Any:
        go.wait(30)
        return first_word(examples)

    statuses = []
    with client(made_up(slow), Limits(waiting=2, seconds=0.4)) as server:

        def ask() -> None:
            statuses.append(server.post("/predict", json=QUESTION))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        go.set()
        assert server.post("/predict", json=QUESTION).status_code == 200
    assert sorted(answer.status_code for answer in statuses) == [503, 504, 504]
    full = next(answer for answer in statuses if answer.status_code == 503)
    assert int(full.headers["retry-after"]) >= 1


def test_a_bug_is_a_500_that_logs_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(examples: Columns) -> Any:
        raise KeyError(examples["context"][0])

    with client(made_up(broken)) as server:
        answer = server.post("/predict", json={"question": "Who?", "context": "a secret"})
        assert server.get("/health").status_code == 200
    assert answer.status_code == 500
    out, err = capsys.readouterr()
    assert "KeyError" in err
    assert "in broken" in err
    assert "secret" not in out + err + answer.text


def test_measurements() -> None:
    with client(made_up(first_word)) as server:
        server.post("/predict", json=QUESTION)
        server.post("/predict/batch", json={"inputs": [QUESTION] * 3})
        server.get("/some/path")
        found = server.get("/metrics").text
    assert 'llmkit_requests_total{path="/predict",status="200"} 1.0' in found
    assert 'llmkit_requests_total{path="other",status="404"} 1.0' in found
    assert "llmkit_turn_inputs_sum 4.0" in found
    assert "process_resident_memory_bytes" in found
    assert "Ann" not in found


def test_no_page_loads_anything_from_elsewhere() -> None:
    with client(made_up(first_word)) as server:
        for path in ("/", "/docs", "/page.js", "/views.js", "/docs.js", "/page.css"):
            answer = server.get(path)
            assert answer.status_code == 200
            assert "http://" not in answer.text.replace("http://www.w3.org", "")
            assert "https://" not in answer.text
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert server.get("/redoc").status_code == 404
