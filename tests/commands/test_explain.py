"""`llmkit explain`: for every kind of task, on the terminal, as JSON and as a page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support import Command, quick_or_slow
from support.families import FAMILIES
from support.models import CLASSES, write_model

from llmkit.system import console

TEXT = "Ines built the <b>lamp</b> & left in 1874."
TYPED = {
    "squad": ["-q", "Who left?", "-c", TEXT],
    "classification": ["-t", TEXT],
    "multilabel": ["-t", TEXT],
    "glue/qnli": ["-t", "Who left?", "--pair", TEXT],
    "regression": ["-t", TEXT],
    "ner": ["-t", TEXT],
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for task in CLASSES:
        write_model(folder / task, task)
    return folder


def explained(llmkit: Command, *arguments: str | Path) -> dict[str, Any]:
    code, out, err = llmkit("explain", *map(str, arguments), "--json")
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def check_numbers(found: dict[str, Any]) -> None:
    """What is true of every explanation."""
    assert found["completeness_error"] <= 0.01
    for word in found["words"]:
        assert found["texts"][word["text"]][word["start"] : word["end"]] == word["word"] != ""
    total = sum(word["integrated_gradients"] for word in found["words"])
    weights = sum(abs(word["integrated_gradients"]) for word in found["words"])
    assert total == pytest.approx(found["value"] - found["value_all_masked"], abs=0.011 * weights + 1e-5)
    deletion = found["deletion"]
    assert deletion["words_removed"] == list(range(11))
    for name in ("integrated_gradients", "occlusion", "random"):
        curve = deletion[name]["curve"]
        assert curve[0] == pytest.approx(found["value"], abs=1e-4)
        assert deletion[name]["area"] == pytest.approx(curve[0] - sum(curve[1:]) / 10, abs=1e-4)
    low, high = deletion["random"]["area_interval"]
    assert low <= deletion["random"]["area"] <= high


@pytest.mark.parametrize("task", TYPED)
def test_every_kind_is_explained(task: str, models: Path, llmkit: Command) -> None:
    found = explained(llmkit, models / task, *TYPED[task])
    check_numbers(found)
    texts = found["texts"]
    assert TEXT in texts.values()
    own = "".join(word["word"] for word in found["words"] if word["answer"])
    if task == "squad":
        assert list(texts) == ["question", "passage"]
        assert "".join(found["answer"].split()) in own
    elif task == "ner":
        assert own in found["explained"]
    else:
        assert own == ""
    assert found == explained(llmkit, models / task, *TYPED[task]), "the same numbers each time"


@pytest.mark.parametrize("family", quick_or_slow(FAMILIES, ("RoBERTa", "ModernBERT")))
@pytest.mark.parametrize("task", quick_or_slow(TYPED, ("squad",)))
def test_every_family_is_explained(task: str, family: str, llmkit: Command, tmp_path: Path) -> None:
    if (family, task) == ("EuroBERT", "squad"):
        pytest.skip("transformers has no EuroBERT for questions")
    found = explained(llmkit, write_model(tmp_path / "model", task, family), *TYPED[task])
    check_numbers(found)


def test_another_label_or_word_than_the_predicted_one(models: Path, llmkit: Command) -> None:
    typed = ["-t", TEXT]
    both = [
        explained(llmkit, models / "classification", *typed, "--label", name)
        for name in ("entailment", "not_entailment")
    ]
    assert [found["answer"] for found in both] == ["entailment", "not_entailment"]
    predicted = explained(llmkit, models / "classification", *typed)
    assert predicted["value"] == max(found["value"] for found in both)
    assert sum(found["score"] for found in both) == pytest.approx(1)
    one, other = (
        explained(llmkit, models / "ner", *typed, "--word", word, "--label", "B-PER") for word in ("built", "2")
    )
    assert one == other
    assert "the logit of B-PER for 'built', word 2" in one["explained"]
    assert [word["word"] for word in one["words"] if word["answer"]] == ["built"]


def test_abstaining_is_explained_too(models: Path, llmkit: Command) -> None:
    found = explained(llmkit, models / "squad_v2", *TYPED["squad"])
    check_numbers(found)
    assert found["answer"] == "no answer"
    assert "[CLS]" in found["explained"]
    assert not any(word["answer"] for word in found["words"])


def test_an_answer_by_its_margin_over_abstaining(models: Path, llmkit: Command) -> None:
    """Natural Questions compares windows by margins; the explained number is that of the window that won."""
    passage = f"{TEXT} {'The sea lay calm. ' * 12}"
    (models / "natural_questions" / "llmkit.json").write_text(
        json.dumps(
            {
                "format": 1,
                "task": "natural_questions",
                "data": {"max_length": 60, "doc_stride": 12},
                "null_threshold": 1000.0,
            }
        )
    )
    found = explained(llmkit, models / "natural_questions", "-q", "Who left?", "-c", passage)
    check_numbers(found)
    code, out, err = llmkit("ask", str(models / "natural_questions"), "-q", "Who left?", "-c", passage, "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert found["answer"] == answer["text"]
    own = [word for word in found["words"] if word["answer"]]
    assert own[0]["start"] <= answer["start"]
    assert own[-1]["end"] >= answer["end"]


def test_of_a_long_passage_the_window_with_the_answer(models: Path, llmkit: Command) -> None:
    passage = f"{'The sea lay calm. ' * 12}{TEXT}"
    found = explained(llmkit, models / "squad", "-q", "Who left?", "-c", passage)
    check_numbers(found)
    inside = [word for word in found["words"] if word["text"] == "passage"]
    assert found["answer"] in passage[inside[0]["start"] : inside[-1]["end"]]
    assert inside[-1]["end"] - inside[0]["start"] < len(passage), "a window, not the whole"


def write_rows(folder: Path) -> Path:
    rows = [{"text": f"The lamp {word} at night.", "label": "entailment"} for word in ("glows", "burns", "fades")]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


def test_a_row_of_a_file(models: Path, llmkit: Command, tmp_path: Path) -> None:
    found = explained(llmkit, models / "classification", "--data", write_rows(tmp_path), "--id", "1")
    check_numbers(found)
    assert found["texts"] == {"text": "The lamp burns at night."}
    assert found["id"] == "1"
    typed = explained(llmkit, models / "classification", "-t", "The lamp burns at night.")
    assert {**typed, "id": "1"} == found
    code, _, err = llmkit("explain", str(models / "classification"), "--data", "rows.jsonl", "--id", "7")
    assert code == 1
    assert "no example of the validation split has the id '7'" in err


def test_a_check_over_examples(models: Path, llmkit: Command, tmp_path: Path) -> None:
    check = [models / "classification", "--data", write_rows(tmp_path), "--check"]
    found = explained(llmkit, *check, "9")
    assert [each["id"] for each in found["each"]] == ["0", "1", "2"]
    for name in ("integrated_gradients", "occlusion"):
        mean = sum(each[name] for each in found["each"]) / 3
        above = sum(each[name] - each["random"] for each in found["each"]) / 3
        assert found[name]["area"] == pytest.approx(mean)
        assert found[name]["above_random"] == pytest.approx(above)
        assert found[name]["area_interval"][0] <= mean <= found[name]["area_interval"][1]
    assert len({json.dumps(explained(llmkit, *check, "2")) for _ in range(2)}) == 1, "the same draw each time"
    code, out, err = llmkit("explain", *map(str, check), "2", "-o", "check.html")
    assert code == 0, err
    assert out.startswith("Deletion check: 2 examples")
    assert "svg" in Page((tmp_path / "check.html").read_text(encoding="utf-8")).tags


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.shown = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.shown += data


def test_the_page_opens_offline_and_escapes_what_users_wrote(models: Path, llmkit: Command, tmp_path: Path) -> None:
    code, _, err = llmkit("explain", str(models / "squad"), *TYPED["squad"], "-o", "page.html")
    assert code == 0, err
    content = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(content)
    assert TEXT in page.shown, "in one piece, spaces and all"
    assert not {"b", "script", "link", "img"} & set(page.tags) - {"b"}
    assert content.count("<b>") == content.count("</b>") == 1, "the user's <b> is text"
    assert all(link.startswith("#") for link in page.links)  # marks of a chart
    assert not re.search(r"url\((?!#)|@import|https?://", content)
    assert "prefers-color-scheme: dark" in content
    assert "{{" not in content
    code, _, err = llmkit("explain", str(models / "squad"), *TYPED["squad"], "-o", "page.html")
    assert code == 1
    assert "page.html exists" in err


def test_the_terminal_shows_the_words(models: Path, llmkit: Command) -> None:
    code, out, err = llmkit("explain", str(models / "squad"), *TYPED["squad"])
    assert code == 0, err
    assert "passage, weighted by integrated gradients:" in out
    assert re.search(r"\[\S+ [+-]1\.00\]", out), "without a terminal, weights are numbers"
    assert re.search(r"^word +in +characters +integrated gradients +occlusion", out, re.MULTILINE)
    assert "50 random orders" in out


def test_on_a_terminal_weights_are_marked_without_changing_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    terminal = Console(force_terminal=True, color_system="standard", width=80, record=True)
    monkeypatch.setattr(console, "_stdout", terminal)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    console.marked([("a ", 0.0), ("strong", 1.0), (" or ", 0.0), ("weak\x1b", -0.2)])
    styled = terminal.export_text(styles=True)
    assert "\x1b[1;4;32mstrong" in styled
    assert "\x1b[4;31mweak\\x1b" in styled
    assert re.sub(r"\x1b\[[\d;]*m", "", styled) == "a strong or weak\\x1b\n"


@pytest.mark.parametrize(
    ("task", "arguments", "expected"),
    [
        ("squad", [], "explain takes one of"),
        ("squad", ["-q", "Who?", "-c", "x", "--id", "1"], "explain takes one of"),
        ("squad", ["-q", "Who?"], "either with -c TEXT or with -f FILE"),
        ("squad", ["-q", " ", "-c", "x"], "the question is empty"),
        ("squad", ["-t", "x"], "squad answers a question on a passage"),
        ("squad", ["-q", "Who?", "-c", "x", "--label", "y"], "--label has no effect on squad"),
        ("squad", ["-q", "Who?", "-c", "\u200b"], "there is no answer to explain"),
        ("classification", ["-q", "Who?", "-c", "x"], "classification reads a text"),
        ("classification", ["-t", "x", "--pair", "y"], "classification reads a text"),
        ("classification", ["-t", "x", "-c", "y"], "classification reads a text"),
        ("squad", ["-q", "Who?", "-c", "x", "-t", "y"], "squad answers a question on a passage"),
        ("ner", ["-t", "x", "--pair", "y"], "ner reads a sentence"),
        ("classification", ["-t", " "], "the text is empty"),
        ("classification", ["-t", "\u200b"], "there is no word to explain by"),
        ("classification", ["-t", "x", "--label", "entailmen"], "did you mean entailment"),
        ("classification", ["-t", "x", "--word", "1"], "--word has no effect on classification"),
        ("classification", ["-t", "x", "--data", "y"], "--data has no effect"),
        ("classification", ["--check", "2", "--word", "1"], "--word has no effect with --check"),
        ("classification", ["-t", "x", "-o", "page.txt"], "page.txt does not end in .html"),
        ("classification", ["-t", "x", "-o", "no/page.html"], "there is no folder no"),
        ("glue/qnli", ["-t", "x"], "glue/qnli reads a pair of texts"),
        ("regression", ["-t", "x", "--label", "score"], "--label has no effect on regression"),
        ("ner", ["-t", "x y", "--word", "3"], "no word '3'"),
        ("ner", ["-t", "x y", "--label", "B-PE"], "did you mean B-PER"),
        ("ner", ["-t", " "], "the text is empty"),
    ],
)
def test_what_can_be_wrong(task: str, arguments: list[str], expected: str, models: Path, llmkit: Command) -> None:
    code, out, err = llmkit("explain", str(models / task), *arguments)
    assert (code, out) == (1, ""), err
    assert expected in err


@pytest.mark.parametrize(
    "asked", [["-t", "x"], ["--data", "rows.jsonl", "--id", "0"], ["--data", "rows.jsonl", "--check", "2"]]
)
def test_generated_texts_say_why_not(asked: list[str], llmkit: Command, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "classification")
    purpose = {"format": 1, "task": "translation", "data": {"max_length": 32, "max_target_length": 32}}
    (model / "llmkit.json").write_text(json.dumps({**purpose, "null_threshold": None}))
    write_rows(tmp_path)
    code, _, err = llmkit("explain", "model", *asked)
    assert code == 1
    assert "a generated text is many choices" in err


def test_an_onnx_export_says_why_not(models: Path, llmkit: Command, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "classification")
    (model / "model.safetensors").unlink()
    (model / "model.onnx").write_bytes(b"")
    code, _, err = llmkit("explain", "model", "-t", "x")
    assert code == 1
    assert "is an ONNX export, which has no gradients" in err


def test_without_the_packages_it_says_what_to_install(
    models: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.system.extras.find_spec", lambda name: None if name == "captum" else name)
    code, _, err = llmkit("explain", str(models / "classification"), "-t", "x")
    assert code == 1
    assert "packages that are not installed: captum" in err
    assert 'pip install "llmkit[explain]"' in err


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model of questions."""
    from llmkit.commands.demo import run_demo

    folder = tmp_path_factory.mktemp("demo")
    run_demo(folder / "demo")
    return folder / "demo" / "squad"


@pytest.mark.slow
def test_on_the_demos_model_the_top_words_matter_more_than_random_ones(demo_run: Path, llmkit: Command) -> None:
    found = explained(llmkit, demo_run, "--check", "60")
    for name in ("integrated_gradients", "occlusion"):
        assert found[name]["above_random_interval"][0] > 0, "more than the interval"
        assert found[name]["area_interval"][0] > found["random"]["area"]
