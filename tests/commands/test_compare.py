"""`llmkit compare`: which system is better on the same examples, and whether that could be chance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import Command
from support.runs import questions, write_questions

OFFICIAL = {"task": "squad", "data": "squad.jsonl"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The rows that the runs were scored on."""
    write_questions(tmp_path / "squad.jsonl")
    return tmp_path / "squad.jsonl"


def texts(*, wrong: int = 0) -> dict[str, str]:
    """Answers in SQuAD's official format, of which the first `wrong` are not right."""
    return {
        row["id"]: "nobody" if number < wrong else row["answers"]["text"][0] for number, row in enumerate(questions())
    }


def write(name: str, answers: dict[str, str]) -> str:
    Path(name).write_text(json.dumps(answers))
    return name


def compared(llmkit: Command, *arguments: str) -> dict[str, Any]:
    code, out, err = llmkit("compare", *arguments, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def message(llmkit: Command, *arguments: str) -> str:
    code, out, err = llmkit("compare", *arguments)
    assert (code, out) == (1, ""), err
    return err


def answer(run: Path, answers: dict[str, str]) -> None:
    """Let the run have answered this."""
    lines = (json.dumps({"id": example_id, "text": text}) for example_id, text in answers.items())
    (run / "predictions.jsonl").write_text("".join(f"{line}\n" for line in lines))


def seed(run: Path, number: int) -> None:
    """Let the run have had this seed."""
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("seed: 42", f"seed: {number}"))


def test_two_files_in_the_official_format(llmkit: Command, data: Path) -> None:
    """Three questions to a passage: the twelve that only the first answers are four passages."""
    files = write("good.json", texts()), write("half.json", texts(wrong=12))
    found = compared(llmkit, *files, "--task", "squad", "--data", "squad.jsonl")
    assert (found["task"], found["examples"]) == ("squad", 24)
    assert [found["scores"][name]["f1"]["value"] for name in files] == [100, 50]
    pair = next(pair for pair in found["pairs"] if pair["score"] == "f1")
    assert (pair["first"], pair["second"], pair["value"]) == (*files, 50)
    assert pair["interval"][0] < 50 < pair["interval"][1]
    assert pair["randomization"] == pytest.approx(2 / 2**4, abs=0.02)
    shares = {name: found["answered"][0][name] for name in ("both", "only_first", "only_second", "none")}
    assert shares == {"both": 0.5, "only_first": 0.5, "only_second": 0, "none": 0}


def test_scores_are_those_of_eval(llmkit: Command, data: Path) -> None:
    write("half.json", texts(wrong=12))
    write("good.json", texts())
    of_data = ["--task", "squad", "--data", "squad.jsonl"]
    scores = json.loads(llmkit("eval", "--predictions", "half.json", *of_data, "--json")[1])
    found = compared(llmkit, "half.json", "good.json", *of_data)["scores"]["half.json"]
    for name in ("exact_match", "f1"):
        assert (found[name]["value"], found[name]["interval"]) == (scores[name], scores[f"{name}_interval"])


def test_runs_know_their_task_and_data(llmkit: Command, finished_run: Path, data: Path) -> None:
    other = Path(shutil.copytree(finished_run, "other"))
    recipe = (other / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(recipe.replace("max_steps: 3", "max_steps: 4"))
    answer(finished_run, texts(wrong=3))
    answer(other, texts())
    code, out, err = llmkit("compare", str(finished_run), "other")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert ["A", str(finished_run), "87.50"] in [line[:3] for line in lines]
    assert ["B", "other", "100.00"] in [line[:3] for line in lines]
    assert ["A", "−", "B", "f1", "-12.50"] in [line[:5] for line in lines]
    assert ["A,", "B", "87.5%", "0.0%", "12.5%", "0.0%"] in lines
    assert ["train.max_steps", "3", "4"] in lines
    assert "another seed" in err


def test_seeds_are_one_system(llmkit: Command, finished_run: Path, data: Path) -> None:
    for number, wrong in ((1, 0), (2, 12)):
        run = Path(shutil.copytree(finished_run, f"seeds/seed-{number}"))
        seed(run, number)
        answer(run, texts(wrong=wrong))
    Path("seeds/seeds.json").write_text(json.dumps({"seeds": [1, 2]}))
    answer(finished_run, texts(wrong=24))
    found = compared(llmkit, "seeds", str(finished_run))
    score = found["scores"]["seeds"]["f1"]
    assert (score["value"], score["runs"], score["deviation"]) == (75, [100, 50], pytest.approx(50 / 2**0.5))
    assert found["answered"][0]["only_first"] == 0.75
    assert found["recipe"] == {}  # the seed is no difference between recipes
    assert "75.00 ± 35.36 (" in llmkit("compare", "seeds", str(finished_run))[1]


def test_several_comparisons_are_corrected(llmkit: Command, data: Path) -> None:
    files = [write(f"{wrong}.json", texts(wrong=wrong)) for wrong in (0, 6, 12)]
    pairs = compared(llmkit, *files, "--task", "squad", "--data", "squad.jsonl")["pairs"]
    assert len(pairs) == 3 * 2
    for pair in pairs:
        assert pair["bootstrap_holm"] >= pair["bootstrap"]
    least = min((pair for pair in pairs if pair["score"] == "f1"), key=lambda pair: pair["bootstrap"])
    assert least["bootstrap_holm"] == pytest.approx(min(1, 3 * least["bootstrap"]))


def test_examples_that_a_file_lacks_score_0(llmkit: Command, data: Path) -> None:
    some = dict(list(texts().items())[:12])
    code, out, err = llmkit(
        "compare", write("some.json", some), write("all.json", texts()), "--task", "squad", "--data", "squad.jsonl"
    )
    assert code == 0
    assert "some.json: 12 of 24 questions have no prediction and score 0" in err
    assert "50.00" in out


class TestMistakes:
    def test_one_system(self, llmkit: Command, finished_run: Path) -> None:
        assert "at least two different systems" in message(llmkit, str(finished_run)).lower()
        assert "at least two different systems" in message(llmkit, str(finished_run), str(finished_run)).lower()

    def test_nothing_there(self, llmkit: Command, finished_run: Path) -> None:
        assert "elsewhere does not exist" in message(llmkit, "elsewhere", str(finished_run))

    def test_files_alone(self, llmkit: Command) -> None:
        files = write("a.json", texts()), write("b.json", texts())
        assert "neither their task nor their data" in message(llmkit, *files)
        assert "neither their task nor their data" in message(llmkit, *files, "--task", "squad")

    def test_pretraining_run(self, llmkit: Command, runs: Path, finished_run: Path) -> None:
        assert "has no predictions" in message(llmkit, str(runs / "runs" / "bert"), str(finished_run))

    def test_unfinished_run(self, llmkit: Command, finished_run: Path, data: Path) -> None:
        other = Path(shutil.copytree(finished_run, "other"))
        (other / "metrics.json").unlink()
        assert "other is not finished" in message(llmkit, str(finished_run), "other")

    def test_data_that_has_changed(self, llmkit: Command, finished_run: Path, data: Path) -> None:
        shutil.copytree(finished_run, "other")
        data.write_text(data.read_text().replace("by the sea", "by the bay"))
        assert "was not scored on these examples" in message(llmkit, str(finished_run), "other")

    def test_other_data_with_the_same_ids(self, llmkit: Command, finished_run: Path, data: Path) -> None:
        Path("more.jsonl").write_text(data.read_text().replace("by the sea", "by the bay"))
        files = [str(finished_run), write("a.json", texts())]
        assert "was not scored on these examples: more.jsonl" in message(llmkit, *files, "--data", "more.jsonl")

    def test_tasks_that_differ(self, llmkit: Command, finished_run: Path, data: Path) -> None:
        other = Path(shutil.copytree(finished_run, "other"))
        recipe = (other / "recipe.yaml").read_text()
        (other / "recipe.yaml").write_text(recipe.replace("task: squad", "task: squad_v2"))
        assert "--task" in message(llmkit, str(finished_run), "other")
        assert compared(llmkit, str(finished_run), "other", "--task", "squad")["task"] == "squad"

    def test_seeds_that_differ_in_more(self, llmkit: Command, finished_run: Path, data: Path) -> None:
        for number in (1, 2):
            run = Path(shutil.copytree(finished_run, f"seeds/seed-{number}"))
            seed(run, number)
        recipe = Path("seeds/seed-2/recipe.yaml")
        recipe.write_text(recipe.read_text().replace("max_steps: 3", "max_steps: 4"))
        Path("seeds/seeds.json").write_text(json.dumps({"seeds": [1, 2]}))
        expected = "seeds: seed-1 and seed-2 differ in more than their seed: train.max_steps"
        assert expected in message(llmkit, "seeds", str(finished_run))
