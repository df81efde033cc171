"""`llmkit report`: a page about a run, and what is refused."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import Command
from support.runs import write_questions

from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import examples_fingerprint

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
pytest.importorskip("cleanlab")


class Links(HTMLParser):
    """What a page refers to, and the ids in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href"):
                self.targets.append(value or "")
            if name == "id":
                self.ids.append(value or "")


@pytest.fixture
def run(finished_run: Path) -> Path:
    """A run beside the questions that it was scored on."""
    write_questions(finished_run.parent / "squad.jsonl")
    return finished_run


def message(llmkit: Command, *arguments: str) -> str:
    code, out, err = llmkit("report", *arguments, "-o", "refused.html")
    assert (code, out) == (1, ""), err
    assert not Path("refused.html").exists()
    return err


def test_one_page_with_nothing_from_elsewhere(llmkit: Command, run: Path) -> None:
    code, _, err = llmkit("report", "run", "-o", "page.html")
    assert code == 0, err
    page = Path("page.html").read_text()
    links = Links(page)
    assert all(target.startswith("#") for target in links.targets)
    assert {target[1:] for target in links.targets} <= set(links.ids)
    assert "url(http" not in page
    assert "@import" not in page
    for section in ("scores", "curves", "slices", "calibration", "errors", "recipe"):
        assert section in links.ids
    scores = json.loads((run / "metrics.json").read_text())
    assert f"{scores['f1']:.2f}" in page
    assert "Question word" in page
    assert "training loss by step" in page


def test_two_runs_share_their_charts(llmkit: Command, run: Path) -> None:
    shutil.copytree(run, "other")
    recipe = Path("other/recipe.yaml")
    recipe.write_text(recipe.read_text().replace("seed: 42", "seed: 43"))
    assert llmkit("report", "run", "other", "-o", "page.html")[0] == 0
    page = Path("page.html").read_text()
    assert "</svg> other</span>" in page
    assert "<td>train.seed</td><td>42</td><td>43</td>" in page


def test_a_weakness_is_at_the_top_and_printed(llmkit: Command, run: Path) -> None:
    """400 questions, of which the model misses those with where."""
    rows, answers = [], []
    for n in range(400):
        word, answer = [("Who founded it?", "Tom Reed"), ("Where does it lie?", "by the sea")][n % 2]
        context = f"Tom Reed founded Ambury {n}. It lies by the sea."
        found = {"text": [answer], "answer_start": [context.index(answer)]}
        rows.append({"id": f"q{n}", "context": context, "question": word, "answers": found})
        answers.append({"id": f"q{n}", "text": answer if n % 2 == 0 or n % 5 == 0 else "nobody", "score": 0.9})
    Path("squad.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    task = TASKS["squad"]
    examples = load_examples(task, task.data_class(validation="squad.jsonl"), ["validation"])["validation"]
    environment = json.loads((run / "env.json").read_text())
    environment["data"]["validation"] = examples_fingerprint(examples)
    (run / "env.json").write_text(json.dumps(environment))
    (run / "predictions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in answers))
    code, _, err = llmkit("report", "run", "-o", "page.html")
    assert code == 0, err
    assert "question word, where: f1 " in err
    assert "question word, where: f1 " in Path("page.html").read_text()


def test_a_pretraining_run_has_curves_and_losses(llmkit: Command, runs: Path) -> None:
    shutil.copytree(runs / "runs" / "bert", "bert")
    assert llmkit("report", "bert", "-o", "page.html")[0] == 0
    page = Path("page.html").read_text()
    assert Links(page).ids.count("curves") == 1
    assert "<td>perplexity</td>" in page


def test_a_run_that_goes_on_has_its_curves_so_far(llmkit: Command, run: Path) -> None:
    (run / "metrics.json").unlink()
    with (run / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "lo')
    assert llmkit("report", "run", "-o", "page.html")[0] == 0
    assert "not finished" in Path("page.html").read_text()


def test_what_is_no_run_is_refused(llmkit: Command, run: Path) -> None:
    Path("empty").mkdir()
    assert "empty is not a run" in message(llmkit, "empty")
    assert "nowhere is not a run" in message(llmkit, "nowhere")


def test_a_run_without_predictions_is_refused(llmkit: Command, run: Path) -> None:
    (run / "predictions.jsonl").unlink()
    assert "has no predictions.jsonl" in message(llmkit, "run")


def test_other_examples_than_those_of_the_scores_are_refused(llmkit: Command, run: Path) -> None:
    rows = Path("squad.jsonl").read_text()
    Path("squad.jsonl").write_text(rows.replace("by the sea", "by the bay"))
    assert "was not scored on these examples" in message(llmkit, "run")


def test_a_page_is_not_written_over(llmkit: Command, run: Path) -> None:
    Path("page.html").write_text("mine")
    code, _, err = llmkit("report", "run", "-o", "page.html")
    assert code == 1
    assert "page.html exists" in err
    assert Path("page.html").read_text() == "mine"
