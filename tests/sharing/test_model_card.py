"""The model card: what it says is what the run wrote down, and what it shows works when pasted."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from support import Command
from support.hub_writes import validate_card
from support.runs import finetuned, pretrained, questions
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification, BertTokenizer

from llmkit.sharing.card_facts import Facts, facts_of
from llmkit.sharing.model_card import card_of
from llmkit.sharing.usage_examples import NAME, OUTPUT, pipeline_tag, with_llmkit, with_transformers
from llmkit.system.run_folder import RunDir

pytestmark = pytest.mark.oldest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards")
    pretrained(folder)
    # Paths of the machine go into the recipe and the command line; they may not come out in the card.
    several = f"data.train=[squad.jsonl, '{folder}/squad.json*']"
    finetuned(folder, "squad", several, f"data.validation={folder / 'squad.jsonl'}", "train.eval_steps=1")
    finetuned(folder, "squad_v2", f"model.pretrained={folder / 'runs' / 'bert' / 'model'}")
    return folder


def card(run: Path) -> str:
    return (run / "model" / "README.md").read_text(encoding="utf-8")


def code(text: str, language: str) -> str:
    """What stands in the card's first block of code in a language, as somebody pastes it."""
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def pasted(python: str, model: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    """The names that the code leaves, and what it prints."""
    names: dict[str, Any] = {}
    capsys.readouterr()
    exec(python.replace(NAME, str(model)), names)
    return names, capsys.readouterr().out


RUNS = ("bert", "squad", "squad_v2")


@pytest.mark.parametrize("name", RUNS)
def test_the_head_of_the_card_is_what_the_hub_reads(name: str, folder: Path) -> None:
    run = folder / "runs" / name
    status, answer = validate_card({"content": card(run)})
    assert (status, answer["errors"], answer["warnings"]) == (200, [], [])
    data = ModelCard(card(run)).data
    assert data.library_name == "transformers"
    assert data.pipeline_tag == ("fill-mask" if name == "bert" else "question-answering")
    assert (data.model_name, data.language, data.base_model, data.datasets) == (name, None, None, None)
    scores = json.loads((run / "metrics.json").read_text())
    shown = {result.metric_type: result.metric_value for result in data.eval_results}
    assert set(shown) == ({"loss", "perplexity"} if name == "bert" else {"exact_match", "f1"})
    for metric, value in shown.items():
        assert value == pytest.approx(scores[metric], abs=1e-4)


@pytest.mark.parametrize("name", RUNS)
def test_it_says_what_the_run_wrote_down(name: str, folder: Path) -> None:
    run, text = folder / "runs" / name, card(folder / "runs" / name)
    scores = json.loads((run / "metrics.json").read_text())
    for metric in ("loss", "perplexity") if name == "bert" else ("exact_match", "f1"):
        ends = scores.get(f"{metric}_interval")
        interval = f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else ""
        assert f"\n| {metric} | {scores[metric]:.2f} | {interval} |\n" in text
    environment = json.loads((run / "env.json").read_text())
    if name != "bert":
        for split in ("train", "validation"):
            assert f"\n| {split} | 24 | `{environment['data'][split]}` |\n" in text
        assert "training and validation examples are the same" in text
        assert "from bert (described below)" in text
    if name == "squad":
        assert "Local files: `squad.jsonl`, `…/squad.json*` (train), `…/squad.jsonl` (validation)." in text
    documents = json.loads((folder / "runs/bert/env.json").read_text())["sizes"]["train"]["documents"]
    assert f"| train | {documents} | " in text  # of the corpus, that of the checkpoint before too
    assert f"transformers {environment['versions']['transformers']}" in text
    assert "3 steps of 16 " in text
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    stated = yaml.safe_load(code(text, "yaml"))
    assert stated["train"] == recipe["train"]
    assert "The language of some of the data is unknown." in text


@pytest.mark.parametrize("name", RUNS)
def test_it_tells_nothing_of_the_authors_machine(name: str, folder: Path) -> None:
    text = card(folder / "runs" / name)
    assert str(folder) not in text
    assert str(Path.home()) + "/" not in text
    if name != "bert":
        assert "…/" in code(text.partition("## Training")[2], "sh")
        assert "are shortened to `…/` and their last part" in text


def test_the_answers_of_the_pasted_code_are_llmkits(
    folder: Path, llmkit: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("squad", "squad_v2"):
        run = folder / "runs" / name
        names, printed = pasted(code(card(run), "python"), run / "model", capsys)
        assert printed
        for row in questions()[:3]:
            code_, out, err = llmkit("ask", str(run), "-q", row["question"], "-c", row["context"], "--json")
            assert code_ == 0, err
            text, logit = names["answer"](row["question"], row["context"])
            answered = json.loads(out)
            assert text == answered["text"]
            if text:
                assert logit == pytest.approx(answered["candidates"][0]["score"], abs=1e-4)


def test_pasted_code_abstains_where_llmkit_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = questions()[0]
    answers = set()
    for threshold in (-1e9, 1e9):
        facts = facts_of(RunDir(folder / "runs" / "squad_v2"))
        facts = Facts(**{**vars(facts), "null_threshold": threshold})
        names, _ = pasted(with_transformers(facts), facts.model, capsys)
        answers.add(names["answer"](row["question"], row["context"])[0] == "")
    assert answers == {True, False}


def test_the_pasted_commands_work(folder: Path, llmkit: Command, tmp_path: Path) -> None:
    for name in RUNS:
        lines = code(card(folder / "runs" / name), "sh").splitlines()
        assert lines
        for line in lines:
            words = line.replace(NAME, str(folder / "runs" / name / "model"))
            data = folder / f"{'squad' if name == 'bert' else name}.jsonl"
            words = words.replace("FILE", str(data)).replace(OUTPUT, str(tmp_path / f"{name}.jsonl"))
            if name == "bert":
                words += f" data.train={data} data.validation={data} train.max_steps=1 -o {tmp_path / 'tuned'}"
            evaluates = words.startswith("llmkit eval ")
            done, out, err = llmkit(*shlex.split(words)[1:], *(["--json"] if evaluates else []))
            assert done == 0, err
            if words.startswith("llmkit predict "):
                written = (tmp_path / f"{name}.jsonl").read_text().splitlines()
                assert len(written) == len(data.read_text().splitlines())
                continue
            assert out
            if evaluates:
                assert json.loads(out) == json.loads((folder / "runs" / name / "metrics.json").read_text())


def test_a_pretrained_model_fills_in_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder / "runs" / "bert"
    _, printed = pasted(code(card(run), "python"), run / "model", capsys)
    assert len(printed.splitlines()) == 5


def stub(task: str, config: dict[str, Any], model: Path) -> Facts:
    """What the use of a model depends on, and nothing else."""
    recipe = {"task": task, "data": {"max_length": 32, "max_target_length": 8}, "model": {}}
    return Facts(recipe, {}, {}, [], config, model, None, None)


@pytest.mark.parametrize(
    ("task", "tag"),
    [
        ("squad", "question-answering"),
        ("classification", "text-classification"),
        ("translation", "translation"),
        ("xsum", "summarization"),
        ("scan", "text-generation"),
    ],
)
def test_what_the_hub_calls_it(task: str, tag: str, tmp_path: Path) -> None:
    assert pipeline_tag(stub(task, {}, tmp_path)) == tag


def test_commands_name_what_does_not_go_with_the_model(tmp_path: Path) -> None:
    facts = stub("spider", {}, tmp_path)
    facts.data.update(source_prefix="to SQL: ", path="jane/queries", name="en", database="spider/database")
    facts.environment["hub"] = {"dataset": {"jane/queries": None}}
    scored, predicted = (shlex.split(line) for line in with_llmkit(facts).splitlines())
    place = ["--data", "jane/queries", "data.name=en", "data.database=spider/database"]
    assert scored == ["llmkit", "eval", NAME, *place]
    assert predicted == ["llmkit", "predict", NAME, "FILE", "-o", OUTPUT]


def test_labels_are_named(folder: Path, tmp_path: Path) -> None:
    def recipe(value: Any) -> None:
        value["task"] = "classification"

    def scores(value: Any) -> None:
        value |= {"accuracy": 50.0, "macro_f1": 50.0}

    run = with_facts(folder / "runs" / "squad", tmp_path / "run", recipe=recipe, metrics=scores)
    config = run.model / "config.json"
    for labels, told in ((["good", "bad"], "Labels: `good`, `bad`."), (["LABEL_0"], None)):
        value = {**json.loads(config.read_text()), "id2label": dict(enumerate(labels))}
        config.write_text(json.dumps(value))
        text = card_of(run)
        assert (told in text) if told else ("Labels:" not in text)
    half = {"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2}
    both = {"model_type": "encoder-decoder", "encoder": half, "decoder": half}
    config.write_text(json.dumps({"architectures": ["EncoderDecoderModel"], **both}))
    assert "`EncoderDecoderModel`, 1 encoder layer of size 32, 1 decoder layer of size 32, " in card_of(run)


SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize(
    ("task", "labels"),
    [("classification", 3), ("classification", 1), ("ner", 3), ("translation", 0), ("translation", 1)],
)
def test_code_for_the_other_kinds(task: str, labels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import EncoderDecoderConfig, EncoderDecoderModel

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz."]
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
    config = BertConfig(vocab_size=len(pieces), **SHAPE)
    if task == "translation":
        both = EncoderDecoderConfig.from_encoder_decoder_configs(
            config, BertConfig(vocab_size=len(pieces), is_decoder=True, add_cross_attention=True, **SHAPE)
        )
        model: Any = EncoderDecoderModel(config=both)
        model.generation_config.update(decoder_start_token_id=2, pad_token_id=0, eos_token_id=3)
        if labels:
            tokenizer.save_pretrained(tmp_path / "decoder_tokenizer")
    else:
        kind = BertForSequenceClassification if task == "classification" else BertForTokenClassification
        model = kind(BertConfig(vocab_size=len(pieces), num_labels=labels, **SHAPE))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    python = with_transformers(stub(task, json.loads((tmp_path / "config.json").read_text()), tmp_path))
    assert ('subfolder="decoder_tokenizer"' in python) == (task == "translation" and labels == 1)
    names, printed = pasted(python, tmp_path, capsys)
    assert printed
    if task == "classification" and labels == 1:  # a number, no probability
        inputs = names["classify"].tokenizer("A text.", return_tensors="pt")
        assert names["classify"]("A text.", function_to_apply="none")[0]["score"] == pytest.approx(
            names["classify"].model(**inputs).logits[0, 0].item(), abs=1e-5
        )
        assert 'function_to_apply="none"' in python


def with_facts(run: Path, to: Path, **changes: Callable[[Any], Any]) -> RunDir:
    """A copy of a run in which files say something else."""
    shutil.copytree(run, to)
    for name, change in changes.items():
        file = to / {"recipe": "recipe.yaml"}.get(name, f"{name}.json")
        text = file.read_text()
        value = yaml.safe_load(text)
        change(value)
        file.write_text(json.dumps(value))
    return RunDir(to)


def test_what_came_from_the_hub_is_named(folder: Path, tmp_path: Path) -> None:
    commit = "a" * 40
    bert, squad = "google-bert/bert-base-uncased", "rajpurkar/squad"

    def recipe(value: Any) -> None:
        value["model"]["pretrained"] = bert
        value["data"] = {"path": squad, "name": "plain_text", "max_length": 64, "max_answer_length": 30}

    def environment(value: Any) -> None:
        value["hub"] = {"model": {bert: commit}, "dataset": {squad: commit, "other/squad": None}}

    run = with_facts(folder / "runs" / "squad", tmp_path / "run", recipe=recipe, env=environment)
    text = card_of(run)
    data = ModelCard(text).data
    assert (data.base_model, data.datasets) == (bert, [squad])
    assert {result.dataset_type for result in data.eval_results} == {squad}
    assert {result.dataset_revision for result in data.eval_results} == {commit}
    assert {result.dataset_config for result in data.eval_results} == {"plain_text"}
    assert f"from [{bert}](https://huggingface.co/{bert}) at commit `aaaaaaaaaa`." in text
    assert f"[{squad}](https://huggingface.co/datasets/{squad}) at commit `aaaaaaaaaa`" in text
    assert f"--data {squad} data.name=plain_text\n" in text


def test_a_corpus_from_the_hub_is_named(folder: Path, tmp_path: Path) -> None:
    wikipedia = {
        "path": "wikimedia/wikipedia",
        "name": "20231101.de",
        "split": "train",
        "commit": "b" * 40,
        "weight": 2.0,
    }

    def environment(value: Any) -> None:
        value["data"]["corpus"]["sources"] = [wikipedia]

    run = with_facts(folder / "runs" / "bert", tmp_path / "run", env=environment)
    text = card_of(run)
    data = ModelCard(text).data
    assert (data.language, data.datasets) == ("de", ["wikimedia/wikipedia"])
    assert "configuration `20231101.de`, split `train`, commit `bbbbbbbbbb`, weight 2" in text
    assert "The language of some of the data is unknown." not in text


def test_limits_follow_from_the_run(folder: Path, tmp_path: Path) -> None:
    def recipe(value: Any) -> None:
        value["data"] = {"path": "demo", "max_length": 64, "max_answer_length": 30}
        value["model"] = {"config": {}}

    def environment(value: Any) -> None:
        value["data"]["train"] = "other"

    def scores(value: Any) -> None:
        value["f1_interval"] = None
        value["normalization"] = "MLQA, zh"

    run = with_facts(folder / "runs" / "squad", tmp_path / "run", recipe=recipe, env=environment, metrics=scores)
    text = card_of(run)
    assert "\n- normalization: `MLQA, zh`\n" in text
    limits = text.partition("## Known limits")[2]
    assert ModelCard(text).data.language == "en"
    assert "synthetic" in limits
    assert "random weights" in limits
    assert "has no interval if all examples belong to one group" in limits
    assert "examples are the same" not in limits
    assert "best `f1` of 3 evaluations" in limits
    assert "accepts at most 128" in limits
    assert "Earlier run" not in text


def test_a_start_that_is_gone_is_named_as_unknown(folder: Path, tmp_path: Path) -> None:
    def recipe(value: Any) -> None:
        value["model"]["pretrained"] = "/home/jane/gone"

    text = card_of(with_facts(folder / "runs" / "squad", tmp_path / "run", recipe=recipe))
    assert "from a local checkpoint, `…/gone`" in text
    assert "The training data of the checkpoint that it started from is unknown." in text
