"""`llmkit ask`: the answer and its place. The model is made by hand: it points at a letter."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from support import Command
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizer

from llmkit.commands import ask as story
from llmkit.corpus import passages
from llmkit.tasks.inference import Reader

pytestmark = pytest.mark.oldest
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "é", "x", "y", "z", "a", "b", "?", "##b"]
LONG = "a b " * 40 + "\n\nx y\n" + "b a " * 40  # longer than five windows; x, the answer, in line 3


def pointing_model(*, sure: bool) -> BertForQuestionAnswering:
    """Answers with x, and abstains unless it is sure: the logits of each token are read off its embedding."""
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=len(VOCABULARY),
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=4,
        max_position_embeddings=48,
    )
    model = BertForQuestionAnswering(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        # One dimension a token. With all other weights at 0, layers pass them on: normalized, not mixed.
        model.bert.embeddings.word_embeddings.weight.copy_(torch.eye(len(VOCABULARY)))
        for name, parameter in model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                parameter.fill_(1.0)
        for token, logit in (("[CLS]", 1.0 if sure else 3.0), ("x", 2.0), ("y", 1.5)):
            model.qa_outputs.weight[:, VOCABULARY.index(token)] = logit
    return model


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY)})
    windows = {"max_length": 40, "doc_stride": 10, "max_answer_length": 1}
    for name, task, sure in (("run", "squad", False), ("sure", "squad_v2", True), ("unsure", "squad_v2", False)):
        (folder / name).mkdir()
        recipe = {"name": name, "task": task, "data": {"path": "demo", **windows}}
        (folder / name / "recipe.yaml").write_text(json.dumps(recipe))
        pointing_model(sure=sure).save_pretrained(folder / name / "model")
        tokenizer.save_pretrained(folder / name / "model")
    return folder


def answer(llmkit: Command, *arguments: str | Path) -> dict[str, Any]:
    code, out, err = llmkit("ask", *map(str, arguments), "--json")
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def test_the_answer_with_its_place(material: Path, llmkit: Command) -> None:
    code, out, err = llmkit("ask", str(material / "run"), "-q", "a?", "-c", "É a\nb x\ty")
    assert code == 0, err
    first, second, third, *table = out.splitlines()
    assert first.startswith("x  (")
    assert second == "  the passage, line 2, characters 6 to 7:"
    assert third == "  … É a b [x] y …"
    assert "other candidates" in table[0]
    assert table[1].split()[1:] == ["y", "8", "to", "9"], "the runner-up"
    assert len(table) == 1 + 3


def test_the_same_as_json(material: Path, llmkit: Command) -> None:
    document = answer(llmkit, material / "run", "-q", "a?", "-c", "É a\nb x\ty")
    assert {name: document[name] for name in ("text", "start", "end", "line")} == {
        "text": "x",
        "start": 6,
        "end": 7,
        "line": 2,
    }
    assert [c["text"] for c in document["candidates"][:2]] == ["x", "y"]
    assert sum(c["probability"] for c in document["candidates"]) == pytest.approx(1)
    assert document["score"] == document["candidates"][0]["probability"]


@pytest.mark.parametrize("model", ["run", "run/model"])
def test_a_file_longer_than_a_window(model: str, material: Path, llmkit: Command, tmp_path: Path) -> None:
    """A bare checkpoint too, with 48 positions, though a window is 384 tokens by default."""
    (tmp_path / "passage.txt").write_text("\ufeff" + LONG, encoding="utf-8")
    document = answer(llmkit, material / model, "-q", "a?", "-f", "passage.txt")
    assert document["line"] == 3
    assert document["start"] == LONG.index("x")
    assert LONG[document["start"] :].startswith(document["text"])
    assert document["end"] == document["start"] + len(document["text"])
    for candidate in document["candidates"]:
        assert candidate["text"] == LONG[candidate["start"] : candidate["end"]]
    code, out, _ = llmkit("ask", str(material / model), "-q", "a?", "-f", "passage.txt")
    assert code == 0
    assert f"passage.txt, line 3, characters {document['start']} to" in out


def test_a_model_may_find_no_answer(material: Path, llmkit: Command) -> None:
    code, out, err = llmkit("ask", str(material / "unsure"), "-q", "a?", "-c", "a x b")
    assert code == 0, err
    assert out.startswith("no answer in the passage  (")
    assert "other candidates" in out
    document = answer(llmkit, material / "unsure", "-q", "a?", "-c", LONG)
    assert (document["text"], document["start"], document["line"]) == ("", None, None)
    assert document["null_score"] > 0
    assert document["candidates"][0]["text"] == "x", "what it would have said"
    assert answer(llmkit, material / "sure", "-q", "a?", "-c", "a x b")["text"] == "x"
    assert answer(llmkit, material / "run", "-q", "a?", "-c", "a x b")["text"] == "x", "squad always has an answer"


def test_the_threshold_of_the_runs_evaluation_decides(material: Path, llmkit: Command) -> None:
    metrics = material / "unsure" / "metrics.json"
    for threshold, text in ((100.0, "x"), (-100.0, "")):
        metrics.write_text(json.dumps({"tuned": {"null_threshold": threshold}}))
        assert answer(llmkit, material / "unsure", "-q", "a?", "-c", "a x b")["text"] == text
    metrics.unlink()


def test_a_passage_of_characters_that_no_token_holds(material: Path, llmkit: Command) -> None:
    code, out, err = llmkit("ask", str(material / "run"), "-q", "a?", "-c", "\u200b")
    assert (code, out) == (0, "no answer in the passage  (0% sure)\n"), err


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder with answers in three files, the best one last, and with files that are not read."""
    folder = tmp_path / "notes"
    (folder / "more" / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    texts = {
        "b.txt": "a b\na y b",
        "a.md": "\ufeffa\nb y\n\nb x a",
        "more/deep/c.TXT": LONG,
        "more/blank.txt": " \n",
        "more/none.txt": "a b a",
        ".hidden/d.txt": "x x x",
        "more/.e.txt": "x x x",
        "f.rst": "x x x",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def answers(llmkit: Command, *arguments: str | Path) -> list[dict[str, Any]]:
    code, out, err = llmkit("ask", *map(str, arguments), "--json")
    assert code == 0, err
    document: list[dict[str, Any]] = json.loads(out)
    return document


def test_a_folder_of_files(material: Path, llmkit: Command, notes: Path) -> None:
    found = answers(llmkit, material / "run", "-q", "a?", "-f", "notes")
    places = [(answer["text"], Path(answer["file"]).name, answer["line"], answer["start"]) for answer in found[:4]]
    # The logit of x is above that of y, in whatever file; equals are in the order of files.
    assert places == [
        ("x", "a.md", 4, 9),
        ("x", "c.TXT", 3, LONG.index("x")),
        ("y", "a.md", 2, 4),
        ("y", "b.txt", 2, 6),
    ]
    assert len(found) == 5
    for answer in found:
        text = Path(answer["file"]).read_text(encoding="utf-8-sig")
        assert text[answer["start"] : answer["end"]] == answer["text"]
        assert text.count("\n", 0, answer["start"]) + 1 == answer["line"]
        assert " ".join(text[answer["end"] :].split()).startswith(answer["after"][:20])
    assert found[0]["before"] == "a b y b"
    assert found[0]["probability"] == pytest.approx(found[1]["probability"])
    assert sum(answer["probability"] for answer in found) < 1
    # All candidates of all files: those of one more file take their share.
    fewer = answers(llmkit, material / "run", "-q", "a?", "-f", notes / "a.md", "-f", notes / "b.txt", "--answers", "1")
    assert [(answer["text"], answer["start"]) for answer in fewer] == [("x", 9)]
    assert fewer[0]["probability"] > found[0]["probability"]
    assert answers(llmkit, material / "run", "-q", "a?", "-f", "notes", "-f", notes / "a.md") == found, "each file once"


def test_a_folder_of_files_for_people(material: Path, llmkit: Command, notes: Path) -> None:
    code, out, err = llmkit("ask", str(material / "run"), "-q", "a?", "-f", "notes", "--answers", "2")
    assert code == 0, err
    first, second, third, *rest = out.splitlines()
    assert first.startswith("x  (")
    assert second == "  notes/a.md, line 4, characters 9 to 10:"
    assert third == "  … a b y b [x] a …"
    assert len(rest) == 3
    assert "reading 5 files, 352 characters" in err


def test_no_two_answers_share_a_character(material: Path, llmkit: Command, tmp_path: Path) -> None:
    """Spans of up to three tokens around x are the same answer in other words."""
    recipe = {"name": "x", "task": "squad", "data": {"path": "demo", "max_length": 40, "doc_stride": 10}}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(
        json.dumps({**recipe, "data": {**recipe["data"], "max_answer_length": 3}})
    )
    (tmp_path / "run" / "model").symlink_to(material / "run" / "model")
    (tmp_path / "one.txt").write_text("a b x a b a b y a")
    (tmp_path / "two.txt").write_text("b a b")
    found = answers(llmkit, "run", "-q", "a?", "-f", "one.txt", "-f", "two.txt", "--answers", "20")
    spans = sorted((answer["file"], answer["start"], answer["end"]) for answer in found)
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(spans))
    assert (found[0]["text"], found[0]["start"]) == ("x", 4)


def test_a_long_file_goes_through_in_parts(
    material: Path, llmkit: Command, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same places; few passages are in memory at a time."""
    whole = answers(llmkit, material / "run", "-q", "a?", "-f", "notes", "--answers", "4")
    monkeypatch.setattr(passages, "PART", 100)
    monkeypatch.setattr(story, "GROUP_CHARACTERS", 150)
    sizes: list[int] = []
    answer = Reader.__call__

    def counted(self: Reader, examples: Any, advance: Any) -> Any:
        sizes.append(sum(map(len, examples["context"])))
        return answer(self, examples, advance)

    monkeypatch.setattr(Reader, "__call__", counted)
    parts = answers(llmkit, material / "run", "-q", "a?", "-f", "notes", "--answers", "4")
    assert [without_shares(answer) for answer in parts] == [without_shares(answer) for answer in whole]
    assert max(sizes) < 250
    assert len(sizes) > 1


def test_where_memory_runs_out_it_reads_fewer_at_a_time(
    material: Path, llmkit: Command, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = ("-q", "a?", "-f", "notes", "--answers", "4")
    whole = answers(llmkit, material / "run", *question)
    monkeypatch.setattr(passages, "PART", 100)
    monkeypatch.setattr(story, "GROUP_CHARACTERS", 150)
    forward = BertForQuestionAnswering.forward
    limit, refused = 1, 0

    def limited(self: Any, input_ids: torch.Tensor, **inputs: Any) -> Any:
        nonlocal refused
        if len(input_ids) > limit:
            refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, input_ids, **inputs)

    monkeypatch.setattr(BertForQuestionAnswering, "forward", limited)
    code, out, err = llmkit("ask", str(material / "run"), *question, "--json")
    assert code == 0, err
    assert [without_shares(answer) for answer in json.loads(out)] == [without_shares(answer) for answer in whole]
    assert "out of memory in an evaluation" in err
    assert "going on with 1 at a time" in err
    assert refused == err.count("going on with") < 4, "the groups that follow begin with what fits"

    limit = 0
    code, _, err = llmkit("ask", str(material / "run"), *question)
    assert code == 1
    assert "Take a smaller model or more memory" in err


def without_shares(answer: dict[str, Any]) -> dict[str, Any]:
    """What parts do not change: each has candidates and surroundings of its own."""
    return {key: answer[key] for key in ("text", "file", "line", "start", "end")}


def test_a_model_may_abstain_from_some_files(material: Path, llmkit: Command, notes: Path) -> None:
    assert answers(llmkit, material / "unsure", "-q", "a?", "-f", "notes") == []
    code, out, _ = llmkit("ask", str(material / "unsure"), "-q", "a?", "-f", "notes")
    assert (code, out) == (0, "no answer in these files\n")
    # Sure of x, and less than sure of y: no answer comes from a file that has neither.
    found = answers(llmkit, material / "sure", "-q", "a?", "-f", "notes", "--answers", "50")
    assert {Path(answer["file"]).name for answer in found} == {"a.md", "b.txt", "c.TXT"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-q", "a?"], "either with -c TEXT or with -f FILE"),
        (["-q", "a?", "-c", "a", "-f", "good.txt"], "either with -c TEXT or with -f FILE"),
        (["-q", "a?", "-c", " \n"], "the passage is empty"),
        (["-q", "a?", "-f", "empty.txt"], "the passage in empty.txt is empty"),
        (["-q", "a?", "-f", "none.txt"], "no such file: none.txt"),
        (["-q", "a?", "-f", "folder"], "folder contains no text files (.txt, .md)"),
        (["-q", "a?", "-f", "good.txt", "-f", "none.txt"], "no such file: none.txt"),
        (["-q", "a?", "-f", "empty.txt", "-f", "empty.md"], "all files are empty"),
        (["-q", "a?", "-f", "latin.txt", "-f", "good.txt"], "latin.txt: not UTF-8 text (byte 1)"),
        (["-q", " ", "-f", "good.txt", "-f", "empty.txt"], "the question is empty"),
        (["-q", "a?", "-f", "good.txt", "-f", "empty.txt", "-c", "a"], "either with -c TEXT or with -f FILE"),
        (["-q", "a?", "-f", "good.txt", "--answers", "3"], "--answers has no effect on one passage"),
        (["-q", "a?", "-f", "latin.txt"], "latin.txt: not UTF-8 text (byte 1)"),
        (["-q", "\t", "-c", "a"], "the question is empty"),
        (["-q", "a " * 60, "-c", "a"], "its question takes 60 tokens, which leaves 0 of max_length 40"),
    ],
)
def test_what_can_be_wrong(
    arguments: list[str], expected: str, material: Path, llmkit: Command, tmp_path: Path
) -> None:
    (tmp_path / "good.txt").write_text("a x")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "empty.md").write_text("")
    (tmp_path / "latin.txt").write_bytes(b"x\xe9")
    (tmp_path / "folder").mkdir()
    code, out, err = llmkit("ask", str(material / "run"), *arguments)
    assert (code, out) == (1, "")
    assert expected in err
    assert "Traceback" not in err
