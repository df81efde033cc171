# ruff: noqa: E501 - a case a line
"""What a user can get wrong: one message with the place and the remedy, exit 1, and everything as it was."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support import Command
from transformers import BertConfig, BertForMaskedLM, BertForQuestionAnswering, BertTokenizer

MANIFEST = ("format", "key", "sources", "totals", "splits")


def rewrite(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda c: (c / "model.safetensors").write_bytes((c / "model.safetensors").read_bytes()[:-9]),
    "garbled": lambda c: (c / "model.safetensors").write_bytes(b"\xff" * 64),
    "weightless": lambda c: (c / "model.safetensors").unlink(),
    "shapeless": lambda c: rewrite(c / "config.json", hidden_size=32),
    "configless": lambda c: (c / "config.json").write_text("{"),
    "unknown": lambda c: rewrite(c / "config.json", model_type="berd", architectures=None),
    "tokenless": lambda c: [(c / file).unlink() for file in ("tokenizer.json", "tokenizer_config.json")],
    "mistokened": lambda c: (c / "tokenizer.json").write_text("{"),
    "gpt": lambda c: rewrite(c / "config.json", model_type="gpt2", architectures=None),
}
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
    rows("list.jsonl", "[1]")
    rows("numbers.jsonl", {"text": 3})
    rows("labels.jsonl", {"text": "tom", "label": "a"}, {"text": "reed", "label": "b"})
    rows("one-label.jsonl", {"text": "tom", "label": "a"}, {"text": "reed", "label": "a"})
    rows("shares.jsonl", {"text": "tom", "label": 0.5})
    rows("secret.jsonl", {"text": "tom", "label": -1}, {"text": "reed", "label": -1})
    rows("half.jsonl", '{"text": "\\ud83d"}')
    (folder / "good.conll").write_text("tom B-PER\nreed I-PER\n\nambury B-LOC\n")
    (folder / "plain.conll").write_text("tom O\n")
    (folder / "column.conll").write_text("tom B-PER\nreed\n")
    (folder / "scheme.conll").write_text("tom PER\n")
    (folder / "latin.conll").write_bytes(b"tom B-PER\n\xe9mile B-PER\n")
    rows("uneven-tags.jsonl", {"tokens": ["tom", "reed"], "ner_tags": ["B-PER"]})
    rows("short-tags.jsonl", {"id": "0", "text": "B-PER"})
    page = {"example_id": 5, "question_text": "who?", "document_text": f"<P> {CONTEXT} </P>"}
    rows("page-span.jsonl", {**page, "annotations": [{"short_answers": [{"start_token": 1, "end_token": 99}]}]})
    rows("page-null.jsonl", {**page, "annotations": [{"short_answers": []}]})
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROW).encode())[:-9])
    changes: dict[str, dict[str, Any]] = {
        "no-question": {"question": None},
        "no-answers": {"answers": None},
        "empty-context": {"context": " "},
        "empty-question": {"question": ""},
        "number-question": {"question": 7},
        "text-answers": {"answers": "tom reed"},
        "uneven-answers": {"answers": {"text": ["tom reed"], "answer_start": []}},
        "empty-answer": {"answers": {"text": [""], "answer_start": [0]}},
        "negative-start": {"answers": {"text": ["tom reed"], "answer_start": [-24]}},
        "float-start": {"answers": {"text": ["tom reed"], "answer_start": [0.0]}},
        "far-start": {"answers": {"text": ["tom reed"], "answer_start": [999]}},
        "unanswerable": {"answers": {"text": [], "answer_start": []}},
    }
    for name, change in changes.items():
        rows(f"{name}.jsonl", ROW, {**ROW, "id": "q2", **change})
    nested: dict[str, Any] = {
        "no-data": {"version": "1.1"},
        "no-paragraphs": {"data": [{"title": "x"}, {"paragraphs": []}]},
        "no-qas": {"data": [{"paragraphs": [{"context": CONTEXT}]}]},
        "odd-qas": {"data": [{"paragraphs": [{"context": CONTEXT, "qas": ["who?"]}]}]},
    }
    for name, content in nested.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "uneven.csv").write_text("context,question\nx,who?\nx,who?,when?\n")
    for name in ("binary.txt", "binary.jsonl", "binary.json", "binary.yaml", "binary.csv"):
        (folder / name).write_bytes(b"good\n\xff\xfe")
    (folder / "empty.txt").touch()
    (folder / "table.csv").write_text("text\nx\n")
    (folder / "ragged.csv").write_text("text,label\ntom,a\nreed\n")
    (folder / "odd.parquet").write_text("not parquet")
    pq.write_table(pa.table({"body": ["x"]}), folder / "column.parquet")
    pq.write_table(pa.table({"text": [1, 2]}), folder / "numbers.parquet")
    (folder / "two").mkdir()
    for name in ("train-a.jsonl", "train-b.jsonl"):
        (folder / "two" / name).write_text(json.dumps(ROW))
    (folder / "empty.yaml").touch()
    (folder / "list.yaml").write_text("- name: x\n")
    (folder / "twice.yaml").write_text("name: x\nname: y\n")
    (folder / "early.yaml").write_text("name: x\ntrain: {max_steps: 1}\ncorpus: {path: x}\nmodel: {config: {}}\n")
    for name, text in {"broken": "{", "other": json.dumps({**{key: {} for key in MANIFEST}, "format": 99})}.items():
        (folder / f"shards-{name}").mkdir()
        (folder / f"shards-{name}" / "manifest.json").write_text(text)
    for name, damage in CHECKPOINTS.items():
        shutil.copytree(folder / "answerer", folder / name)
        damage(folder / name)
    for name, file, text in (
        ("run-broken", "recipe.yaml", "name: ["),
        ("run-list", "recipe.yaml", "- a"),
        ("run-unfinished", "recipe.yaml", "name: x\ntask: squad\n"),
    ):
        (folder / name).mkdir()
        (folder / name / file).write_text(text)
    shutil.copytree(folder / "answerer", folder / "run-damaged" / "model")
    (folder / "run-damaged" / "recipe.yaml").write_text("name: x\ntask: squad_v2\n")
    (folder / "run-damaged" / "metrics.json").write_text("{")
    (folder / "strangers.json").write_text('{"q9": "tom"}')
    (folder / "alias.yaml").write_text("name: x\ntask: &a [*a]\n")
    (folder / "one.txt").write_text("only one document here. " * 40)
    (folder / "many.txt").write_text("\n\n".join(["one document of many. " * 20] * 80))
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


TOKENS = "tokenizer.path=encoder"
TUNE = ["finetune", "-r", "good.yaml"]
TRAIN = ["pretrain", "-r", "tiny/pretrain"]
WINDOWS = ["data.max_length=32", "data.doc_stride=8"]
TAG = ["finetune", "-r", "tiny/ner", "model.pretrained=encoder", "data.validation=good.conll"]
PAGES = ["finetune", "-r", "tiny/natural_questions", "model.pretrained=encoder", *WINDOWS]
SCORE = ["eval", "answerer", "--task", "squad", "--data"]
ASK = ["ask", "answerer", "-q"]
PREDICT = ["predict", "answerer", "--task", "squad", "-o", "p.jsonl"]
LABEL = ["finetune", "-r", "tiny/classification", "model.pretrained=encoder", "data.validation=labels.jsonl"]

CASES: dict[str, tuple[list[str], list[str]]] = {
    "unknown key": (["finetune", "-r", "typo.yaml"], ["typo.yaml:7: train.learning_rat: unknown key (did you mean learning_rate?)"]),
    "all problems": (["finetune", "-r", "typo.yaml"], ["typo.yaml:8: train.seed: should be a valid integer, got False", "2 problems"]),
    "override type": ([*TUNE, "train.max_steps=ten"], ["override train.max_steps=ten: train.max_steps: should be a valid integer"]),
    "override form": ([*TUNE, "train.max_steps"], ["override train.max_steps: not of the form section.key=value"]),
    "no effect": ([*TRAIN, "corpus.path=x", "corpus.tokenizer.vocab_size=900"], ["tokenizer has no effect with path"]),
    "broken recipe": (["finetune", "-r", "yaml.yaml"], ["yaml.yaml:3: not valid YAML"]),
    "wrong task": (["finetune", "-r", "task.yaml"], ["task.yaml:2: task: unknown task (did you mean squad?)"]),
    "wrong task option": (["finetune", "--task", "squat"], ["unknown task 'squat' (did you mean squad?)"]),
    "task of another recipe": ([*TUNE, "--task", "classification"], ["override task=classification: the recipe is for squad", "Choose a recipe for classification, or use its default recipe: llmkit finetune --task classification"]),
    "task of another kind": ([*TUNE, "task=glue/cola"], ["override task=glue/cola: the recipe is for squad"]),
    "no task": (["finetune"], ["neither a task nor a recipe is given"]),
    "no recipe": (["pretrain", "-r", "bert-minni"], ["no recipe named 'bert-minni' (did you mean bert-mini?)"]),
    "no recipe file": (["pretrain", "-r", "mine.yaml"], ["no recipe file mine.yaml"]),
    "no such file": ([*TUNE, "data.train=none.jsonl"], ["data.train: no such file: none.jsonl"]),
    "empty file": ([*TUNE, "data.train=empty.jsonl"], ["the train split holds no question"]),
    "empty validation": ([*TUNE, "data.validation=empty.jsonl"], ["the validation split holds no"]),
    "empty evaluation": (["eval", "answerer", "--task", "squad", "--data", "empty.jsonl"], ["the validation split holds no"]),
    "broken JSON": ([*TUNE, "data.train=broken.jsonl"], ["broken.jsonl:2: broken JSON"]),
    "misaligned": ([*TUNE, "data.train=misaligned.jsonl"], ["answer 'reed' is not at character 0"]),
    "duplicate": ([*TUNE, "data.train=twice.jsonl"], ["twice.jsonl:2: id 'q1' is taken by", "twice.jsonl:1"]),
    "column": ([*TUNE, "data.train=column.jsonl"], ["column.jsonl:1: no 'context' (did you mean contxt?)"]),
    "stride": ([*TUNE, "data.doc_stride=40"], ["doc_stride 40 leaves no room in a window of max_length 32"]),
    "question too long": ([*TUNE, "data.train=long.jsonl"], ["example q1: its question takes"]),
    "positions": ([*TUNE, "data.max_length=128"], ["data.max_length 128 exceeds the 64 positions"]),
    "block size": ([*TRAIN, "corpus.block_size=256"], ["corpus.block_size 256 exceeds"]),
    "another head": (["eval", "encoder", "--task", "squad", "--data", "good.jsonl"], ["encoder has no question-answering head", "Fine-tune it first"]),
    "vocabulary": ([*TUNE, "model.pretrained=small-vocabulary"], ["the vocabulary of small-vocabulary only 20"]),
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
    "no corpus": (["tokenize"], ["no text source given"]),
    "corpus not there": (["tokenize", "-c", "none.txt"], ["no such corpus: none.txt"]),
    "corpus key": (["tokenize", "-c", "one.txt,weigt=2"], ["sources[0].weigt: unknown key (did you mean weight?)"]),
    "no shards": ([*TRAIN, "corpus.path=nothing"], ["nothing holds no token shards", "llmkit tokenize"]),
    "one document": ([*TRAIN, "corpus.sources=[one.txt]", "corpus.tokenizer.vocab_size=100"], ["do not fill one block of 64", "held out"]),
    "eval nothing": (["eval"], ["nothing to score", "Give a run or model, or --predictions FILE"]),
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
    "alias": (["finetune", "-r", "alias.yaml"], ["alias.yaml: *a: aliases are not supported"]),
    "bf16": ([*TUNE, "train.bf16=maybe"], ["override train.bf16=maybe: train.bf16: should be True, False or 'auto', got 'maybe'", "1 problem;"]),
    "title": ([*TUNE, "data.train=title.jsonl"], ["title.jsonl:1: 'title' is not text"]),
    "surrogate": ([*TUNE, "data.train=surrogate.jsonl"], ["surrogate.jsonl:1: 'title' holds half a surrogate pair"]),
    "null score": (["eval", "--predictions", "null_score.jsonl", "--task", "squad_v2", "--data", "good.jsonl"], ["null_score.jsonl:1: 'null_score' is not a number"]),
    "key without effect": (["tokenize", "-c", "one.txt,split=test"], ["one.txt: split has no effect on files"]),
    "documents without effect": (["tokenize", "-c", "good.jsonl,documents=blank_line,text_column=context"], ["documents has no effect on .jsonl files"]),
    "demo without effect": (["tokenize", "-c", "demo,name=x,revision=y"], ["demo: name, revision has no effect on the demo"]),
    # Corpora.
    "corpus bytes": (["tokenize", "-c", "binary.txt", TOKENS], ["binary.txt:2: not UTF-8 text (byte 1 of the line)"]),
    "corpus jsonl bytes": (["tokenize", "-c", "binary.jsonl", TOKENS], ["binary.jsonl:1: broken JSON"]),
    "corpus jsonl broken": (["tokenize", "-c", "broken.jsonl,text_column=question", TOKENS], ["broken.jsonl:2: broken JSON"]),
    "corpus jsonl list": (["tokenize", "-c", "list.jsonl", TOKENS], ["list.jsonl:1: expected a JSON object"]),
    "corpus jsonl field": (["tokenize", "-c", "good.jsonl", TOKENS], ["good.jsonl:1: expected a string in field 'text'", "text_column="]),
    "corpus jsonl number": (["tokenize", "-c", "numbers.jsonl", TOKENS], ["numbers.jsonl:1: expected a string in field 'text'"]),
    "corpus jsonl surrogate": (["tokenize", "-c", "half.jsonl", TOKENS], ["half.jsonl:1: \\ud83d is an unpaired surrogate, half a character"]),
    "corpus parquet": (["tokenize", "-c", "odd.parquet", TOKENS], ["odd.parquet: not readable as parquet"]),
    "corpus parquet column": (["tokenize", "-c", "column.parquet", TOKENS], ["column.parquet has no column 'text'; columns are body"]),
    "corpus parquet number": (["tokenize", "-c", "numbers.parquet", TOKENS], ["numbers.parquet: column 'text' does not hold text"]),
    "corpus format": (["tokenize", "-c", "table.csv", TOKENS], ["table.csv: unsupported format"]),
    "corpus folder": (["tokenize", "-c", "answerer", TOKENS], ["answerer contains no file in a supported format"]),
    "corpus empty": (["tokenize", "-c", "empty.txt", TOKENS], ["the corpus holds no text"]),
    "corpus weight": (["tokenize", "-c", "one.txt,weight=0"], ["sources[0].weight: should be greater than 0"]),
    "corpus weight text": (["tokenize", "-c", "one.txt,weight=much"], ["sources[0].weight: should be a valid number"]),
    "corpus documents": (["tokenize", "-c", "one.txt,documents=line"], ["sources[0].documents: should be 'file' or 'blank_line'"]),
    "corpus option": (["tokenize", "-c", "one.txt,weight"], ["'weight' in 'one.txt,weight' is not key=value"]),
    "vocabulary of none": (["tokenize", "-c", "one.txt", "tokenizer.vocab_size=5"], ["tokenizer.vocab_size: should be greater than or equal to 100"]),
    "vocabulary twice": (["tokenize", "-c", "one.txt", TOKENS, "tokenizer.lowercase=false"], ["have no effect with it"]),
    "tokenizer not there": (["tokenize", "-c", "one.txt", "tokenizer.path=./none"], ["no such run or checkpoint: ./none"]),
    "tokenizer of nothing": (["tokenize", "-c", "one.txt", "tokenizer.path=nothing"], ["nothing holds neither a run nor a checkpoint"]),
    "tokenizer broken": (["tokenize", "-c", "one.txt", "tokenizer.path=mistokened"], ["no tokenizer could be loaded from mistokened"]),
    "shards in use": (["tokenize", "-c", "one.txt", TOKENS, "-o", "nothing"], ["nothing is in use and holds no token shards"]),
    "shards below a file": (["tokenize", "-c", "one.txt", TOKENS, "-o", "one.txt/x"], ["cannot write"]),
    "shards broken": ([*TRAIN, "corpus.path=shards-broken"], ["manifest.json is damaged"]),
    "shards of another version": ([*TRAIN, "corpus.path=shards-other"], ["has format 99; this version of llmkit reads format 1"]),
    "shards not there": ([*TRAIN, "corpus.path=none"], ["none does not exist"]),
    # Examples.
    **{
        name: ([*TUNE, f"data.train={name}.jsonl"], [f"{name}.jsonl:2: {told}"])
        for name, told in {
            "no-question": "no 'question'",
            "no-answers": "no 'answers'",
            "empty-context": "'context' is empty or not text",
            "empty-question": "'question' is empty or not text",
            "number-question": "'question' is empty or not text",
            "text-answers": "'answers' is neither",
            "uneven-answers": "'answers' has 1 texts and 0 starts",
            "empty-answer": "an answer is empty",
            "negative-start": "answer 'tom reed' is not at character -24",
            "float-start": "an answer needs a text and a whole number",
            "far-start": "answer 'tom reed' is not at character 999",
            "unanswerable": "no answer; for questions without an answer use the task squad_v2",
        }.items()
    },
    # Labels.
    "no files of one's own": (["finetune", "--task", "classification", "model.pretrained=encoder"], ["data.train: no such file: train.csv"]),
    "one label": ([*LABEL, "data.train=one-label.jsonl"], ["every one of the 2 training examples has the label 'a'", "data.label_column"]),
    "column of labels": ([*LABEL, "data.train=labels.jsonl", "data.label_column=lable"], ["labels.jsonl:1: no 'lable' (did you mean label?); fields are "]),
    "column of texts": ([*LABEL, "data.train=table.csv"], ["table.csv:2: no 'label'; fields are text; choose one with data.label_column (all rows of the train split are like this)", "Say which column to read"]),
    "fields of a row": ([*LABEL, "data.train=ragged.csv"], ["ragged.csv:3: the number of fields differs from the header's"]),
    "share as label": ([*LABEL, "data.train=shares.jsonl"], ["shares.jsonl:1: 'label' is neither text nor a whole number: 0.5"]),
    "secret labels": ([*LABEL, "--task", "glue/sst2", "data.train=secret.jsonl", "data.text_column=text"], ["no sentence of the train split has a label, so there is nothing to learn or to score: secret.jsonl:1: 'label' is -1"]),
    "label of another task": ([*LABEL, "--task", "glue/sst2", "data.train=labels.jsonl", "data.text_column=text"], ["labels.jsonl:1: 'label' is 'a'; labels are negative, positive, or their numbers 0 to 1"]),
    "key of eval": ([*SCORE, "good.jsonl", "train.seed=1"], ["override train.seed=1: only keys of data have an effect here", "data.label_column=stars"]),
    "row of another kind": ([*TUNE, "data.train=list.jsonl"], ["list.jsonl:1: expected an object"]),
    "no data": ([*TUNE, "data.train=no-data.json"], ["no-data.json: neither a list of rows"]),
    "no paragraphs": ([*TUNE, "data.train=no-paragraphs.json"], ["no-paragraphs.json: data[0]: expected an object with a list named 'paragraphs'"]),
    "no qas": ([*TUNE, "data.train=no-qas.json"], ["no-qas.json: data[0].paragraphs[0]: expected an object with a list named 'qas'"]),
    "odd qas": ([*TUNE, "data.train=odd-qas.json"], ["odd-qas.json: data[0].paragraphs[0].qas[0]: expected an object"]),
    "data bytes": ([*TUNE, "data.train=binary.json"], ["binary.json: not UTF-8 text (byte 5)"]),
    "data parquet": ([*TUNE, "data.train=odd.parquet"], ["odd.parquet: not readable as parquet"]),
    "data parquet column": ([*TUNE, "data.train=column.parquet"], ["column.parquet row 0: no 'context'"]),
    "data folder": ([*TUNE, "data.path=two"], ["two holds 2 files: train-a.jsonl, train-b.jsonl for the split train"]),
    "data folder empty": ([*TUNE, "data.path=nothing"], ["nothing holds no file for the split train"]),
    "data folder not there": ([*TUNE, "data.path=./none"], ["data.path: no such file or folder: ./none"]),
    "data split": ([*SCORE, "two", "--split", "dev"], ["local data has no split 'dev'", "Its splits are train, validation, test"]),
    "data split of files": ([*SCORE, "two", "--split", "test"], ["two holds no file for the split test"]),
    "data split of the demo": ([*SCORE, "demo", "--split", "test"], ["the demo has no split 'test'"]),
    # Recipes.
    "recipe empty": (["pretrain", "-r", "empty.yaml"], ["empty.yaml: not a mapping"]),
    "recipe list": (["pretrain", "-r", "list.yaml"], ["list.yaml: not a mapping"]),
    "recipe bytes": (["pretrain", "-r", "binary.yaml"], ["binary.yaml: not UTF-8 text (byte 5)"]),
    "recipe key twice": (["pretrain", "-r", "twice.yaml"], ["twice.yaml:2: name: duplicate key", "corpus: missing"]),
    "recipe of another command": (["finetune", "-r", "early.yaml"], ["early.yaml:3: corpus: unknown key", "task: missing"]),
    "recipe checked": (["recipes", "check", "typo.yaml"], ["typo.yaml:7: train.learning_rat", "2 problems"]),
    "recipe to copy": (["recipes", "copy", "bert-minni"], ["no recipe named 'bert-minni' (did you mean bert-mini?)"]),
    "recipe to show": (["recipes", "show", "none.yaml"], ["no recipe file none.yaml"]),
    **{
        f"override {override}": ([*TRAIN, override], [told])
        for override, told in {
            "train.learning_rate=2": "train.learning_rate: should be less than 1",
            "train.learning_rate=.nan": "train.learning_rate: should be",
            "train.learning_rate=1e-4x": "train.learning_rate: should be a valid number",
            "train.per_device_train_batch_size=0": "should be greater than 0",
            "train.per_device_train_batch_size=2.5": "should be a valid integer",
            "train.eval_steps=0": "train.eval_steps: should be greater than 0",
            "train.eval_steps=1.0": "train.eval_steps: should be a whole number of steps, or a fraction of the run below 1",
            "train.logging_steps=2.5": "train.logging_steps: should be a whole number of steps, or a fraction",
            "train.warmup_steps=-1": "train.warmup_steps: should be greater than or equal to 0",
            "train.save_steps=often": "train.save_steps: should be a whole number of steps, or a fraction of the run below 1",
            "train.seed=-1": "train.seed: should be greater than or equal to 0",
            "train.seed=true": "train.seed: should be a valid integer",
            "train.time_budget=ten minutes": "train.time_budget: should be a time such as 90s, 30m or 1h30m",
            "train.lr_scheduler_type=polynomial": "train.lr_scheduler_type: should be 'linear', 'cosine' or 'constant'",
            "train.adam_beta2=1.5": "train.adam_beta2: should be less than or equal to 1",
            "train.torch_compile=maybe": "train.torch_compile: should be a valid boolean",
            "train.save_total_limit=0": "train.save_total_limit: should be greater than or equal to 1",
            "train=fast": "train: should be a valid dictionary",
            "train.seed.x=1": "train.seed",
            "trian.seed=1": "trian: unknown key (did you mean train?)",
            "=3": "not of the form section.key=value",
            "train.seed=[": "the value is not valid YAML",
            "name=7": "name: should be a valid string",
            "corpus.block_size=4": "corpus.block_size: should be greater than or equal to 8",
            "corpus.mlm_probability=0": "corpus.mlm_probability: should be greater than 0",
            "corpus.sources=[]": "sources is empty",
            "corpus.sources=books": "corpus.sources: should be a valid list",
            "model.config.hidden_size=65": "hidden_size 65 is not divisible by num_attention_heads 2",
            "model.config.hidden_act=swish": "model.config.hidden_act: should be",
            "model.config.hidden_siz=64": "unknown key (did you mean hidden_size?)",
        }.items()
    },
    "warm-up of a budget": ([*TRAIN, "train.time_budget=1m", "train.warmup_steps=10"], ["with time_budget, warmup_steps must be a fraction"]),
    "shape without tokenizer": ([*TUNE, "model.config={}"], ["config needs a tokenizer: model.tokenizer=HUB_ID_OR_FOLDER"]),
    "dropout beside shape": ([*TUNE, "model.config={}", "model.tokenizer=encoder", "model.attention_probs_dropout_prob=0.1"], ["attention_probs_dropout_prob has no effect with config"]),
    "tokenizer beside checkpoint": ([*TUNE, "model.tokenizer=encoder"], ["tokenizer has no effect with pretrained"]),
    # Checkpoints and runs.
    **{
        f"checkpoint {name}": (["eval", name, "--task", "squad", "--data", "good.jsonl"], [name, *told])
        for name, told in {
            "truncated": ["cannot be loaded"],
            "garbled": ["cannot be loaded"],
            "weightless": ["cannot be loaded"],
            "shapeless": ["cannot be loaded"],
            "configless": ["cannot be loaded"],
            "unknown": ["cannot be loaded"],
            "tokenless": ["the tokenizer of tokenless has no vocabulary"],
            "mistokened": ["no tokenizer could be loaded"],
        }.items()
    },
    "another architecture": ([*TRAIN, "corpus.sources=[{path: many.txt, documents: blank_line}]", "corpus.tokenizer.vocab_size=100", "model.pretrained=gpt"], ["gpt is a gpt2 model", "Continue from a BERT model"]),
    "run broken": (["eval", "run-broken"], ["run-broken/recipe.yaml: not readable as a run's recipe"]),
    "run of a list": (["eval", "run-list"], ["run-list/recipe.yaml: not a run's recipe"]),
    "run unfinished": (["eval", "run-unfinished", "--data", "good.jsonl"], ["run-unfinished has no finished model", "--resume"]),
    "run damaged": (["ask", "run-damaged", "-q", "who?", "-c", CONTEXT], ["metrics.json is damaged"]),
    # Predictions and passages.
    "predictions of others": (["eval", "--predictions", "strangers.json", "--task", "squad", "--data", "good.jsonl"], ["strangers.json: none of its ids is in good.jsonl"]),
    "predictions bytes": (["eval", "--predictions", "binary.json", "--task", "squad", "--data", "good.jsonl"], ["binary.json: not UTF-8 text (byte 5)"]),
    "predictions empty": (["eval", "--predictions", "empty.jsonl", "--task", "squad", "--data", "good.jsonl"], ["empty.jsonl has no predictions"]),
    "predictions not there": (["eval", "--predictions", "none.json", "--task", "squad", "--data", "good.jsonl"], ["no such file: none.json"]),
    "predictions to a folder": (["eval", "--predictions", "strangers.json", "--task", "squad", "--data", "good.jsonl", "-o", "x"], ["-o has no effect with --predictions"]),
    "predictions and model": ([*SCORE, "good.jsonl", "--predictions", "strangers.json"], ["cannot be scored together"]),
    "passage bytes": ([*ASK, "who?", "-f", "binary.txt"], ["binary.txt: not UTF-8 text (byte 5)"]),
    "passage folder": ([*ASK, "who?", "-f", "two"], ["two contains no text files (.txt, .md)"]),
    "passages bytes": ([*ASK, "who?", "-f", ".", "-f", "one.txt"], ["binary.txt: not UTF-8 text (byte 5)"]),
    "passages missing": ([*ASK, "who?", "-f", "one.txt", "-f", "none.txt"], ["no such file: none.txt"]),
    "passages empty": ([*ASK, "who?", "-f", "empty.txt", "-f", "empty.txt"], ["all files are empty"]),
    "passages and context": ([*ASK, "who?", "-f", "one.txt", "-f", "two", "-c", "x"], ["either with -c TEXT or with -f FILE"]),
    "answers of one": ([*ASK, "who?", "-f", "one.txt", "--answers", "2"], ["--answers has no effect on one passage"]),
    # Rows to predict.
    "rows not there": ([*PREDICT, "none.jsonl"], ["none.jsonl does not exist", "Give a file of rows"]),
    "rows of a folder": ([*PREDICT, "two"], ["two is a folder"]),
    "rows empty": ([*PREDICT, "empty.jsonl"], ["empty.jsonl holds no question"]),
    "rows twice": ([*PREDICT, "twice.jsonl"], ["twice.jsonl:2: id 'q1' is taken by twice.jsonl:1"]),
    "rows column": ([*PREDICT, "column.jsonl"], ["column.jsonl:1: no 'context' (did you mean contxt?)"]),
    "rows question": ([*PREDICT, "empty-question.jsonl"], ["empty-question.jsonl:2: 'question' is empty or not text"]),
    "rows list": ([*PREDICT, "list.jsonl"], ["list.jsonl:1: expected an object"]),
    "rows nested": ([*PREDICT, "odd-qas.json"], ["odd-qas.json: data[0].paragraphs[0].qas[0]: expected an object"]),
    "rows bytes": ([*PREDICT, "binary.csv"], ["binary.csv:2: not UTF-8 text (byte 0 of the line)"]),
    "rows fields": ([*PREDICT, "uneven.csv"], ["uneven.csv:3: the number of fields differs from the header's"]),
    "rows parquet": ([*PREDICT, "odd.parquet"], ["odd.parquet: not readable as parquet"]),
    "predictions there": (["predict", "answerer", "good.jsonl", "--task", "squad", "-o", "twice.jsonl"], ["twice.jsonl already exists"]),
    "predictions named": (["predict", "answerer", "good.jsonl", "--task", "squad", "-o", "p.json"], ["p.json does not end in .jsonl", "-o p.jsonl"]),
    "predictions below a file": (["predict", "answerer", "good.jsonl", "--task", "squad", "-o", "one.txt/p.jsonl"], ["one.txt/p.jsonl cannot be written"]),
    "predict without task": (["predict", "answerer", "good.jsonl", "-o", "p.jsonl"], ["does not say what task", "--task squad"]),
    "predict with another head": (["predict", "encoder", "good.jsonl", "--task", "squad", "-o", "p.jsonl"], ["encoder has no question-answering head"]),
    "passage for another model": (["ask", "encoder", "-q", "who?", "-c", "x"], ["encoder has no question-answering head"]),
    "packing of a task": (["verify", "packing", "-r", "tiny/squad"], ["only pretraining packs documents"]),
    # Tags and pages.
    "tags and words": ([*TAG, "data.train=uneven-tags.jsonl"], ["uneven-tags.jsonl:1: 2 'tokens', but 1 'ner_tags': each word needs a tag"]),
    "word without a tag": ([*TAG, "data.train=column.conll"], ["column.conll:2: 1 column"]),
    "tag of no scheme": ([*TAG, "data.train=scheme.conll"], ["scheme.conll:1: tag 1 of 'tags': 'PER' is not a tag of an entity scheme"]),
    "columns in Latin 1": ([*TAG, "data.train=latin.conll"], ["latin.conll:2: not UTF-8 text (byte 0 of the line)"]),
    "no entity": ([*TAG, "data.train=plain.conll"], ["each word of the 1 training examples has the tag O"]),
    "tags column": ([*TAG, "data.train=good.conll", "data.tags_column=pos"], ["no 'pos'", "fields are tokens, tags; choose one with data.tags_column"]),
    "predictions of tags": (["eval", "--predictions", "short-tags.jsonl", "--task", "ner", "--data", "good.conll"], ["the prediction for 0 has 1 tags, its sentence 2 words"]),
    "span of a page": ([*PAGES, "data.train=page-span.jsonl", "data.validation=page-span.jsonl"], ["page-span.jsonl:1: a short answer of tokens 1 to 99, but the document has 6"]),
    "no window left": ([*PAGES, "data.train=page-null.jsonl", "data.validation=page-null.jsonl", "data.null_windows=1e-9"], ["no window of the training examples holds an answer", "Raise data.null_windows"]),
    "share of windows": ([*PAGES, "data.null_windows=0"], ["data.null_windows: should be greater than 0"]),
    "packed and cut off": ([*PAGES, "data.train=cut.jsonl.gz", "data.validation=good.jsonl"], ["cut.jsonl.gz: damaged after line"]),
    "copy over": (["recipes", "copy", "bert-mini", "good.yaml"], ["good.yaml already exists"]),
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
