"""llmkit.json: a model that has left its run is used as the run is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import Command
from support.runs import finetuned, pretrained, questions, write_questions

from llmkit.tasks import TASKS
from llmkit.tasks.purpose import FILE, Purpose, purpose_of, write_purpose
from llmkit.tasks.settings import settings_of
from llmkit.tasks.text.sections import TextData


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("purpose")
    pretrained(folder)
    return finetuned(folder, "squad_v2", "data.max_length=40", "data.doc_stride=8")


@pytest.fixture
def model(run: Path, tmp_path: Path) -> Path:
    """The run's model, alone."""
    return Path(shutil.copytree(run / "model", tmp_path / "model"))


def say(model: Path, **said: Any) -> None:
    file = model / FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **said}))


def test_what_a_run_says_goes_with_its_model(run: Path, model: Path) -> None:
    of_run, of_model = purpose_of(str(run)), purpose_of(str(model))
    assert of_run is not None
    assert of_model is not None
    assert (of_run.task.name, of_run.null_threshold) == ("squad_v2", of_model.null_threshold)
    assert isinstance(of_model.null_threshold, float)
    assert of_run.data == {**of_model.data, "train": "squad_v2.jsonl", "validation": "squad_v2.jsonl"}
    assert (of_model.data["max_length"], of_model.data["doc_stride"]) == (40, 8)


def test_it_scores_and_predicts_as_its_run(run: Path, model: Path, llmkit: Command) -> None:
    data = run.parent.parent / "squad_v2.jsonl"
    code, out, err = llmkit("eval", str(model), "--data", str(data), "--json")
    assert code == 0, err
    assert json.loads(out) == json.loads((run / "metrics.json").read_text())
    for name, path in (("run", run), ("model", model)):
        code, _, err = llmkit("predict", str(path), str(data), "-o", f"{name}.jsonl")
        assert code == 0, err
    assert Path("run.jsonl").read_bytes() == Path("model.jsonl").read_bytes()
    code, _, err = llmkit("eval", str(model))
    assert (code, err.splitlines()[0]) == (1, f"error: {model} does not say what data to evaluate it on")


def test_it_abstains_at_its_threshold(model: Path, llmkit: Command) -> None:
    row = questions()[0]
    for threshold, abstains in ((-1e6, True), (1e6, False)):
        say(model, null_threshold=threshold)
        code, out, err = llmkit("ask", str(model), "-q", row["question"], "-c", row["context"], "--json")
        assert code == 0, err
        assert (json.loads(out)["text"] == "") == abstains


def test_another_task_is_named(model: Path, llmkit: Command) -> None:
    write_questions(Path("squad.jsonl"))
    say(model, null_threshold=-1e6)
    for task, abstains in (("squad_v2", True), ("squad", False)):
        code, _, err = llmkit("predict", str(model), "squad.jsonl", "--task", task, "-o", f"by-{task}.jsonl")
        assert code == 0, err
        texts = [json.loads(line)["text"] for line in Path(f"by-{task}.jsonl").read_text().splitlines()]
        assert (set(texts) == {""}) == abstains, "a threshold is of no use to another task"
    code, _, err = llmkit("eval", str(model), "--task", "ner", "--data", "demo")
    assert code == 1
    assert "was fine-tuned for squad_v2, which does not predict the same kind of answers as ner" in err


@pytest.mark.parametrize(
    ("task", "overrides", "path", "name"),
    [
        (None, [], None, None),  # the run's own data
        ("squad_v2", [], None, None),
        ("squad_v2", ["data.name=x"], None, "x"),
        ("xquad", ["data.name=xquad.zh"], "google/xquad", "xquad.zh"),
        ("mlqa", [], "facebook/mlqa", "mlqa.en.en"),
        ("xquad", ["data.validation=other.jsonl"], None, None),
        (None, ["data.test=other.jsonl"], None, None),
    ],
)
def test_another_task_brings_its_data(
    task: str | None, overrides: list[str], path: str | None, name: str | None, run: Path
) -> None:
    data: Any = settings_of(str(run), task, None, overrides).data
    assert (data.path, data.name) == (path, name)


def test_what_has_no_purpose(run: Path, model: Path) -> None:
    (model / FILE).unlink()
    assert purpose_of(str(model)) is None
    assert purpose_of(str(run.parent / "bert")) is None
    assert not (run.parent / "bert" / "model" / FILE).exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", f"{FILE}:1: broken JSON"),
        ("[]", "a valid dictionary"),
        ('{"format": 2, "task": "squad", "data": {}, "null_threshold": null}', f"{FILE}: format: Input should be 1"),
        ('{"format": 1, "task": "squad", "data": {}}', f"{FILE}: null_threshold: Field required"),
        ('{"format": 1, "task": 3, "data": {}, "null_threshold": null}', f"{FILE}: task: "),
        ('{"format": 1, "task": "squab", "data": {}, "null_threshold": null}', "unknown task 'squab'"),
        (
            '{"format": 1, "task": "squad", "data": {"path": "/etc"}, "null_threshold": null}',
            f"{FILE}: data must not name files or datasets: path",
        ),
        (
            '{"format": 1, "task": "squad", "data": {"max_length": 4}, "null_threshold": null}',
            f"{FILE}: max_length: Input should be greater than or equal to 16",
        ),
        ('{"format": 1, "task": "squad", "data": {"new": 4}, "null_threshold": null}', f"{FILE}: new: Extra inputs"),
        ("[" * 100_000, f"{FILE}:1: cannot parse this JSON"),
        (
            '{"format": 1, "task": "squad", "data": {"max_length": 900}, "null_threshold": null}',
            "data.max_length 900 exceeds the 128 positions of ",
        ),
    ],
)
def test_what_is_not_as_llmkit_wrote_it(text: str, problem: str, model: Path, llmkit: Command) -> None:
    (model / FILE).write_text(text)
    for command in (("ask", "-q", "Who?", "-c", "Tom."), ("eval", "--data", "demo")):
        code, out, err = llmkit(command[0], str(model), *command[1:])
        assert (code, out) == (1, "")
        assert err.startswith("error: ")
        assert problem in err.splitlines()[0]
        assert len(err.splitlines()) == 2
    if "exceeds" not in problem:
        write_questions(Path("squad.jsonl"))
        code, _, err = llmkit("eval", str(model), "--task", "squad", "--data", "squad.jsonl")
        assert code == 0, "who names the task needs no file"
        assert problem in err.splitlines()[0]
        assert err.splitlines()[0].endswith("; it is ignored")


def test_places_stay_behind(tmp_path: Path) -> None:
    data = TextData(train="a.jsonl", validation="b.jsonl", database="/home/jane/secret", source_prefix="to SQL: ")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    write_purpose(tmp_path / "model", TASKS["spider"], data, None)
    assert "secret" not in (tmp_path / "model" / FILE).read_text()
    reading = {"max_length": 128, "max_target_length": 128, "source_prefix": "to SQL: "}
    assert purpose_of(str(tmp_path / "model")) == Purpose(TASKS["spider"], reading, None)
