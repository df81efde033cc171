# ruff: noqa: E501 - a case a line
"""What a user can get wrong: one message with the place and the remedy, exit 1, and everything as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForQuestionAnswering, BertTokenizer

Command = Callable[..., tuple[int, str, str]]

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.?", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]  # fmt: skip
CONTEXT = "tom reed founded ambury."
ROW = {"id": "q1", "context": CONTEXT, "question": "who?", "answers": {"text": ["tom reed"], "answer_start": [0]}}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints and files, good ones and bad ones."""
    folder = tmp_path_factory.mktemp("material")
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY)})
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    for name, kind, size in (
        ("answerer", BertForQuestionAnswering, len(VOCABULARY)),
        ("encoder", BertForMaskedLM, len(VOCABULARY)),
        ("small-vocabulary", BertForMaskedLM, 20),
    ):
        model = kind(BertConfig(vocab_size=size, max_position_embeddings=64, **shape))
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    pickled = folder / "pickled"
    BertForMaskedLM(BertConfig(vocab_size=len(VOCABULARY), **shape)).config.save_pretrained(pickled)
    tokenizer.save_pretrained(pickled)
    torch.save({}, pickled / "pytorch_model.bin")
    (folder / "nothing").mkdir()
    (folder / "nothing" / "notes.txt").write_text("mine")

    def rows(name: str, *rows: Any) -> None:
        (folder / name).write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))

    rows("good.jsonl", ROW, {**ROW, "id": "q2"})
    rows("broken.jsonl", ROW, '{"id": ')
    rows("twice.jsonl", ROW, ROW)
    rows("misaligned.jsonl", {**ROW, "answers": {"text": ["reed"], "answer_start": [0]}})
    rows("column.jsonl", {**ROW, "contxt": CONTEXT, "context": None})
    rows("empty.jsonl")
    rows("long.jsonl", {**ROW, "question": "who " * 100})
    rows("title.jsonl", {**ROW, "title": 3})
    rows("surrogate.jsonl", {**ROW, "title": "\ud800"})
    rows("null_score.jsonl", {"id": "q1", "text": "", "null_score": "x"})
    (folder / "alias.yaml").write_text("name: x\ntask: &a [*a]\n")
    (folder / "one.txt").write_text("only one document here. " * 40)
    recipe = "name: x\ntask: squad\nmodel: {pretrained: encoder}\n"
    data = "data: {train: good.jsonl, validation: good.jsonl, max_length: 32, doc_stride: 8}\n"
    (folder / "good.yaml").write_text(recipe + data + "train: {max_steps: 1}\n")
    (folder / "typo.yaml").write_text(recipe + data + "train:\n  max_steps: 1\n  learning_rat: 1e-4\n  seed: no\n")
    (folder / "yaml.yaml").write_text("name: x\ntask: [squad\n")
    (folder / "task.yaml").write_text((recipe + data).replace("squad", "squat") + "train: {max_steps: 1}\n")
    (folder / "finished").mkdir()
    (folder / "finished" / "recipe.yaml").write_text("name: x\n")
    (folder / "finished" / "metrics.json").write_text("{}")
    (folder / "started").mkdir()
    (folder / "started" / "recipe.yaml").write_text("name: other\n")
    return folder


TUNE = ["finetune", "-r", "good.yaml"]
TRAIN = ["pretrain", "-r", "tiny/pretrain"]
SCORE = ["eval", "answerer", "--task", "squad", "--data"]
ASK = ["ask", "answerer", "-q"]

CASES: dict[str, tuple[list[str], list[str]]] = {
    "unknown key": (["finetune", "-r", "typo.yaml"], ["typo.yaml:7: train.learning_rat: unknown key (did you mean learning_rate?)"]),
    "all problems": (["finetune", "-r", "typo.yaml"], ["typo.yaml:8: train.seed: should be a valid integer, got False", "2 problems"]),
    "override type": ([*TUNE, "train.max_steps=ten"], ["override train.max_steps=ten: train.max_steps: should be a valid integer"]),
    "override form": ([*TUNE, "train.max_steps"], ["override train.max_steps: not of the form section.key=value"]),
    "no effect": ([*TRAIN, "corpus.path=x", "corpus.tokenizer.vocab_size=900"], ["tokenizer has no effect beside path"]),
    "broken recipe": (["finetune", "-r", "yaml.yaml"], ["yaml.yaml:3: not valid YAML"]),
    "wrong task": (["finetune", "-r", "task.yaml"], ["task.yaml:2: task: unknown task (did you mean squad?)"]),
    "wrong task option": (["finetune", "--task", "squat"], ["unknown task 'squat' (did you mean squad?)"]),
    "task of another recipe": ([*TUNE, "--task", "squad_v2"], ["the recipe is for squad"]),
    "no task": (["finetune"], ["neither a task nor a recipe is given"]),
    "no recipe": (["pretrain", "-r", "bert-minni"], ["no recipe named 'bert-minni' (did you mean bert-mini?)"]),
    "no recipe file": (["pretrain", "-r", "mine.yaml"], ["no recipe file mine.yaml"]),
    "no such file": ([*TUNE, "data.train=none.jsonl"], ["data.train: no such file: none.jsonl"]),
    "empty file": ([*TUNE, "data.train=empty.jsonl"], ["the train split holds no question"]),
    "broken JSON": ([*TUNE, "data.train=broken.jsonl"], ["broken.jsonl:2: broken JSON"]),
    "misaligned": ([*TUNE, "data.train=misaligned.jsonl"], ["answer 'reed' is not at character 0"]),
    "duplicate": ([*TUNE, "data.train=twice.jsonl"], ["twice.jsonl:2: id 'q1' is taken by", "twice.jsonl:1"]),
    "column": ([*TUNE, "data.train=column.jsonl"], ["column.jsonl:1: no 'context' (did you mean contxt?)"]),
    "stride": ([*TUNE, "data.doc_stride=40"], ["doc_stride 40 leaves no room in a window of max_length 32"]),
    "question too long": ([*TUNE, "data.train=long.jsonl"], ["example q1: its question takes"]),
    "positions": ([*TUNE, "data.max_length=128"], ["data.max_length 128 exceeds the 64 positions"]),
    "block size": ([*TRAIN, "corpus.block_size=256"], ["corpus.block_size 256 exceeds"]),
    "another head": (["eval", "encoder", "--task", "squad", "--data", "good.jsonl"], ["encoder has no question-answering head", "Fine-tune it first"]),
    "vocabulary": ([*TUNE, "model.pretrained=small-vocabulary"], ["the vocabulary of small-vocabulary 20"]),
    "pickle": ([*TUNE, "model.pretrained=pickled"], ["pickled cannot be loaded", "safetensors"]),
    "no checkpoint": ([*TUNE, "model.pretrained=nothing"], ["nothing holds neither a run nor a checkpoint"]),
    "no such model": ([*TUNE, "model.pretrained=./none"], ["no such run or checkpoint: ./none"]),
    "folder in use": ([*TUNE, "-o", "nothing"], ["nothing is in use", "another folder with -o"]),
    "finished": ([*TUNE, "-o", "finished"], ["finished holds a finished run"]),
    "resume nothing": ([*TUNE, "--resume", "-o", "nothing"], ["nothing holds no run to resume"]),
    "resume finished": ([*TUNE, "--resume", "-o", "finished"], ["finished holds a finished run"]),
    "resume another": ([*TUNE, "--resume", "-o", "started"], ["started was started with another recipe", "name was 'other', is 'x'"]),
    "unwritable": ([*TUNE, "-o", "one.txt/run"], ["cannot write to one.txt/run: Not a directory"]),
    "model off the hub": ([*TUNE, "model.pretrained=some/model"], ["cannot be reached, and some/model was not downloaded"]),
    "data off the hub": (["eval", "answerer", "--task", "squad", "--data", "some/data"], ["cannot be reached, and some/data was not downloaded"]),
    "corpus off the hub": (["tokenize", "-c", "wikipedia"], ["cannot be reached, and wikimedia/wikipedia was not downloaded"]),
    "no corpus": (["tokenize"], ["no source of text is given"]),
    "corpus not there": (["tokenize", "-c", "none.txt"], ["no such corpus: none.txt"]),
    "corpus key": (["tokenize", "-c", "one.txt,weigt=2"], ["sources[0].weigt: unknown key (did you mean weight?)"]),
    "no shards": ([*TRAIN, "corpus.path=nothing"], ["nothing holds no token shards", "llmkit tokenize"]),
    "one document": ([*TRAIN, "corpus.sources=[one.txt]", "corpus.tokenizer.vocab_size=100"], ["do not fill one block of 64", "held out"]),
    "eval nothing": (["eval"], ["one thing is scored at a time", "Give a run or model, or --predictions FILE"]),
    "eval without task": (["eval", "answerer", "--data", "good.jsonl"], ["does not say what task", "--task squad"]),
    "eval without data": (["eval", "answerer", "--task", "squad"], ["does not say what data", "--data PATH"]),
    "eval in use": ([*SCORE, "good.jsonl", "-o", "nothing"], ["nothing is in use"]),
    "predictions alone": (["eval", "--predictions", "good.jsonl"], ["neither its task nor its data", "--task squad --data FILE"]),
    "predictions form": (["eval", "--predictions", "good.yaml", "--task", "squad", "--data", "good.jsonl"], ["good.yaml:1: broken JSON"]),
    "predictions folder": (["eval", "--predictions", "nothing", "--task", "squad", "--data", "good.jsonl"], ["nothing cannot be read: Is a directory"]),
    "predictions twice": (["eval", "--predictions", "twice.jsonl", "--task", "squad", "--data", "good.jsonl"], ["twice.jsonl:1: not a prediction"]),
    "passage twice": ([*ASK, "who?", "-c", "x", "-f", "one.txt"], ["either with -c TEXT or with -f FILE"]),
    "passage missing": ([*ASK, "who?"], ["either with -c TEXT or with -f FILE"]),
    "passage file": ([*ASK, "who?", "-f", "none.txt"], ["no such file: none.txt"]),
    "passage empty": ([*ASK, "who?", "-c", "  "], ["the passage is empty"]),
    "question empty": ([*ASK, " ", "-c", "x"], ["the question is empty"]),
    "copy to nowhere": (["recipes", "copy", "bert-mini", "/proc/mine.yaml"], ["cannot write /proc/mine.yaml"]),
    "alias": (["finetune", "-r", "alias.yaml"], ["alias.yaml: *a: aliases are not read"]),
    "bf16": ([*TUNE, "train.bf16=maybe"], ["override train.bf16=maybe: train.bf16: should be True, False or 'auto', got 'maybe'", "1 problem;"]),
    "title": ([*TUNE, "data.train=title.jsonl"], ["title.jsonl:1: 'title' is not text"]),
    "surrogate": ([*TUNE, "data.train=surrogate.jsonl"], ["surrogate.jsonl:1: 'title' holds half a surrogate pair"]),
    "null score": (["eval", "--predictions", "null_score.jsonl", "--task", "squad_v2", "--data", "good.jsonl"], ["null_score.jsonl:1: 'null_score' is not a number"]),
    "key without effect": (["tokenize", "-c", "one.txt,split=train"], ["one.txt: split has no effect on files"]),
    "documents without effect": (["tokenize", "-c", "good.jsonl,documents=file,text_column=context"], ["documents has no effect on .jsonl files"]),
    "demo without effect": (["tokenize", "-c", "demo,name=x,revision=y"], ["demo: name, revision has no effect on the demo"]),
    "copy over": (["recipes", "copy", "bert-mini", "good.yaml"], ["good.yaml is there already"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_message_and_nothing_changed(
    case: str, material: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, messages = CASES[case]
    monkeypatch.chdir(material)
    before = {path: path.stat().st_mtime_ns for path in material.rglob("*")}
    code, out, err = llmkit(*arguments)
    assert code == 1, err
    assert "Traceback" not in err
    assert out == ""
    # What is wrong, a line a problem, and then one line that says what to do about it.
    *problems, remedy = err[err.index("error: ") :].splitlines()
    assert all(line.startswith("error: ") for line in problems), err
    assert not remedy.startswith("error: "), err
    assert remedy.endswith("."), err
    for message in messages:
        assert message in err
    assert {path: path.stat().st_mtime_ns for path in material.rglob("*")} == before
