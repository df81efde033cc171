"""A checkpoint is continued, and the loss of other text is measured beside that of its own."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from support import Command
from support.runs import command, pretrained, run_command, weights

from llmkit.commands.also_evaluate import find, tokenized
from llmkit.commands.tokenize import prepare, tokenize
from llmkit.corpus.shards import read_manifest
from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.recipes.corpus import CorpusSection, Source, TokenizerSection
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.system.errors import UserError
from llmkit.training.batches import collate_blocks

pytestmark = pytest.mark.oldest

NEWS = [f"The {what} of number {n} opened by the sea. Tom Reed came." for n in range(60) for what in ("mill", "school")]
BOOKS = "corpus.sources=[{path: books.txt, documents: blank_line}]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/bert, the text that it was trained on (books.txt), other text (news.txt), and that as token shards."""
    folder = tmp_path_factory.mktemp("domains")
    pretrained(folder)
    (folder / "news.txt").write_text("\n".join(NEWS), encoding="utf-8")
    (folder / "word.txt").write_text("sea\n", encoding="utf-8")
    command(folder, "tokenize", "-c", "news.txt", "-o", "news", "tokenizer.path=runs/bert")
    command(folder, "tokenize", "-c", "news.txt", "-o", "other", "tokenizer.vocab_size=150")
    return folder


START = ["pretrain", "-r", "tiny/pretrain", BOOKS, "corpus.tokenizer={path: runs/bert}", "model.pretrained=runs/bert"]
START += ["train.max_steps=8", "train.eval_steps=4", "train.logging_steps=2", "train.per_device_eval_batch_size=2"]
ALSO = [
    "corpus.also_evaluate.news=news.txt",
    "corpus.also_evaluate.shards=news",
    "corpus.also_evaluate.own={path: books.txt, documents: blank_line}",
]


@pytest.fixture
def continued(folder: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Continue runs/bert on its text in eight steps, with further arguments."""
    monkeypatch.chdir(folder)
    return lambda *arguments: llmkit(*START, *arguments)


@pytest.fixture(scope="module")
def several(folder: Path) -> tuple[Path, str, str]:
    """A run that was evaluated on several corpora, and what it printed."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        command(folder, *START, *ALSO, "-o", "several")
    return folder / "several", out.getvalue(), err.getvalue()


def evaluations(run: Path) -> dict[int, dict[str, float]]:
    """The scores in a run's log by step. No step may have two."""
    found: dict[int, dict[str, float]] = {}
    for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()):
        if "eval_loss" in line:
            assert line["step"] not in found
            found[line["step"]] = {name: value for name, value in line.items() if name.startswith("eval_")}
    return found


def test_every_corpus_has_its_scores_from_the_start(several: tuple[Path, str, str], folder: Path) -> None:
    run, out, err = several
    told = evaluations(run)
    assert list(told) == [0, 4, 8]
    names = [f"{name}{score}" for name in ("", "news_", "shards_", "own_") for score in ("loss", "perplexity")]
    assert all(set(scores) == {*(f"eval_{name}" for name in names), "eval_runtime"} for scores in told.values())
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(metrics) == [*names, "step", "steps"]
    assert metrics["step"] == 8, "the own loss falls to the end, and decides"
    for name in names:
        assert metrics[name] == told[8][f"eval_{name}"]
    before, after = told[0], told[8]
    assert f"perplexity {after['eval_perplexity']:.2f} (was {before['eval_perplexity']:.2f}) at step 8; news " in out
    assert f"; news {after['eval_news_perplexity']:.2f} (was {before['eval_news_perplexity']:.2f}); shards " in out
    # The run trains on books.txt, so the part that it holds out is evaluated. All of news.txt is, and of the shards
    # the held-out part.
    assert metrics["own_loss"] == metrics["loss"]
    tokenizer = load_tokenizer(str(folder / "runs/bert/model"))
    tokens = sum(len(tokenizer(line)["input_ids"]) for line in NEWS) // 64 * 64
    assert f"also evaluated: news, {tokens / 1000:.1f}k tokens in {tokens // 64} blocks" in err
    manifest = json.loads((folder / "news" / "manifest.json").read_text())
    assert f"in {manifest['totals']['validation']['tokens'] // 64} blocks" in err.split("also evaluated: shards")[1]


def test_the_card_names_them(several: tuple[Path, str, str]) -> None:
    run, *_ = several
    text, told = (run / "model/README.md").read_text(), evaluations(run)
    assert "| score | value | before the first step |" in text
    assert f"| news_loss | {told[8]['eval_news_loss']:.2f} | {told[0]['eval_news_loss']:.2f} |" in text
    assert "Also evaluated, as `news`: local files: `news.txt` (fingerprint `" in text
    assert "of 2 evaluations" in text, "the start was no candidate"


def test_each_source_of_a_mixture_has_its_held_out_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    books, news = Source(path="books.txt", documents="blank_line"), Source(path="news.txt", documents="line")
    mixture = [books.model_copy(update={"weight": 3.0}), news.model_copy(update={"weight": 0.5})]
    corpus = tokenize(prepare(mixture, TokenizerSection(path="runs/bert"), folder / "mixture"))
    section = CorpusSection(path="mixture", also_evaluate={"books": books, "news": news})
    evaluated = tokenized(find(section), corpus, 16)
    for number, name in enumerate(("books", "news")):
        shards = [shard for shard in read_manifest(corpus)["splits"]["validation"] if shard["source"] == number]
        assert evaluated[name].blocks.tokens == sum(shard["tokens"] for shard in shards) // 16 * 16, (
            "each document once"
        )
        assert [source["files"][0][0] for source in evaluated[name].key["sources"]] == [f"{name}.txt"]


def test_a_run_from_random_weights_does_not_evaluate_its_start(folder: Path) -> None:
    assert list(evaluations(folder / "runs" / "bert")) == [2, 3]
    assert "before the first step" not in (folder / "runs/bert/model/README.md").read_text()


def test_a_loss_above_that_of_the_start_is_said(continued: Command) -> None:
    code, _, err = continued("-o", "worse", "train.learning_rate=0.9", "train.warmup_steps=0")
    assert code == 0, err
    assert "never fell below that of the start: lower train.learning_rate" in err


def test_a_dry_run_counts_the_start_and_the_other_corpora(continued: Command) -> None:
    code, _, err = continued("-o", "none", "--dry-run", *ALSO)
    assert code == 0, err
    assert "for 3 evaluations" in err
    assert "also evaluated: news" in err


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Set `at` to the batch of evaluations, counted from 1, in which Ctrl-C is pressed."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    state = {"at": 0, "seen": 0}

    def counted(blocks: Any) -> Any:
        state["seen"] += 1
        if state["seen"] == state["at"]:
            os.kill(os.getpid(), signal.SIGINT)
        return collate_blocks(blocks)

    monkeypatch.setattr("llmkit.training.held_out.collate_blocks", counted)
    yield state
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("which", "told"),
    [(0, "before the first step"), pytest.param(1, "after step 4, which is saved", marks=pytest.mark.slow)],
)
def test_a_run_stopped_in_an_evaluation_ends_as_one_that_was_not(
    which: int,
    told: str,
    continued: Command,
    several: tuple[Path, str, str],
    folder: Path,
    interrupted: dict[str, int],
) -> None:
    whole, *_, err = several
    blocks = [int(number) for number in re.findall(r"(?:and|in) (\d+) blocks", err)]  # of all but the first corpus
    own = int(re.findall(r", (\d+) blocks held out", err)[0])
    interrupted["at"] = which * sum(-(-number // 2) for number in [own, *blocks]) + 3
    run = folder / f"stopped-{which}"
    code, _, err = continued("-o", str(run), *ALSO)
    assert code == 130
    assert f"stopped {told}" in err
    interrupted["at"] = 0
    code, _, err = continued("-o", str(run), *ALSO, "--resume")
    assert code == 0, err
    assert weights(run) == weights(whole)
    assert list(evaluations(run)) == [0, 4, 8]
    assert (run / "metrics.json").read_text() == (whole / "metrics.json").read_text()


@pytest.mark.slow
def test_a_resumed_run_is_evaluated_on_the_same_text(continued: Command, folder: Path) -> None:
    (folder / "changing.txt").write_text("\n".join(NEWS), encoding="utf-8")
    also = "corpus.also_evaluate.news=changing.txt"
    code, _, err = continued("-o", "changed", also)
    assert code == 0, err
    (folder / "changed" / "metrics.json").unlink()
    (folder / "changing.txt").write_text("\n".join(NEWS[1:]), encoding="utf-8")
    code, _, err = continued("-o", "changed", also, "--resume")
    assert code == 1
    assert "was started on other data: also_evaluate.news.sources" in err


@pytest.mark.parametrize(
    ("also", "told"),
    [
        ("no/such/file.txt", "no such corpus: no/such/file.txt"),
        ("other", "other was tokenized with another tokenizer than the run's corpus"),
        ("{path: news, documents: line}", "news: documents has no effect on token shards"),
        ("word.txt", "do not fill one block of 64"),
        ("'*.txt'", "the run trains on a part of this text"),
        ("{path: books.txt, documents: line}", "the run trains on a part of this text"),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_the_run(
    also: str, told: str, continued: Command, folder: Path
) -> None:
    code, _, err = continued("-o", "refused", f"corpus.also_evaluate.x={also}")
    assert code == 1
    assert told in err.partition("error: corpus.also_evaluate.x: ")[2]
    assert "Traceback" not in err
    assert not (folder / "refused").exists()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("corpus.also_evaluate.x='a.txt,weight=2'", "also_evaluate.x: weight has no effect: each"),
        (
            "corpus.also_evaluate={a b: a.txt}",
            "also_evaluate: a name is made of letters, digits, - and _: 'a b'",
        ),
        ("corpus.also_evaluate.x={path: a.txt, documnts: line}", "x.documnts: unknown key (did you mean documents?)"),
        ("corpus.also_evaluate=a.txt", "corpus.also_evaluate: should be a valid dictionary"),
    ],
)
def test_what_is_wrong_in_the_recipe_has_its_place(override: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        read_recipe(PretrainRecipe, "tiny/pretrain", [override])
    (problem,) = error.value.problems
    assert problem.startswith(f"override {override}: corpus")
    assert told in problem


@pytest.mark.slow
def test_two_processes_share_the_evaluation(several: tuple[Path, str, str], folder: Path) -> None:
    arguments = ["pretrain", "-r", "several/recipe.yaml", "-o", "two", "-n", "2", "train.per_device_train_batch_size=8"]
    run_command(*arguments, cwd=folder)
    one, two = evaluations(folder / "several"), evaluations(folder / "two")
    for step in (0, 4, 8):
        for name in set(one[step]) - {"eval_runtime"}:
            assert two[step][name] == pytest.approx(one[step][name], rel=1e-4)
