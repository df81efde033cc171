# ruff: noqa: E501 - a case a line
"""Examples to fine-tune on that are wrong: their files, rows and columns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

TUNE = ["finetune", "-r", "good.yaml"]
WINDOWS = ["data.max_length=32", "data.doc_stride=8"]
TAG = ["finetune", "-r", "tiny/ner", "model.pretrained=encoder", "data.validation=good.conll"]
PAGES = ["finetune", "-r", "tiny/natural_questions", "model.pretrained=encoder", *WINDOWS]
LABEL = ["finetune", "-r", "tiny/classification", "model.pretrained=encoder", "data.validation=labels.jsonl"]

CASES: dict[str, tuple[list[str], list[str]]] = {
    "pattern without files": ([*TUNE, "data.train=*.none"], ["data.train: no file matches *.none"]),
    "neither file nor list": ([*TUNE, "data.train=3"], ["override data.train=3: data.train: should be a file, a pattern, a folder, or a list of these, got 3", "1 problem"]),
    "null text": ([*LABEL, "data.train=null.jsonl"], ["null.jsonl:2: 'text' is empty", "Correct or remove these rows"]),
    "no such file": ([*TUNE, "data.train=none.jsonl"], ["data.train: no such file: none.jsonl"]),
    "empty file": ([*TUNE, "data.train=empty.jsonl"], ["the train split holds no question"]),
    "empty validation": ([*TUNE, "data.validation=empty.jsonl"], ["the validation split holds no"]),
    "broken JSON": ([*TUNE, "data.train=broken.jsonl"], ["broken.jsonl:2: broken JSON"]),
    "misaligned": ([*TUNE, "data.train=misaligned.jsonl"], ["answer 'reed' is not at character 0"]),
    "duplicate": ([*TUNE, "data.train=twice.jsonl"], ["twice.jsonl:2: id 'q1' is taken by", "twice.jsonl:1"]),
    "column": ([*TUNE, "data.train=column.jsonl"], ["column.jsonl:1: 'context' is empty (did you mean contxt?)"]),
    "stride": ([*TUNE, "data.doc_stride=40"], ["doc_stride 40 leaves no room in a window of max_length 32"]),
    "question too long": ([*TUNE, "data.train=long.jsonl"], ["example q1: its question takes"]),
    "positions": ([*TUNE, "data.max_length=128"], ["data.max_length 128 exceeds the 64 positions"]),
    "title": ([*TUNE, "data.train=title.jsonl"], ["title.jsonl:1: 'title' is not text"]),
    "surrogate": ([*TUNE, "data.train=surrogate.jsonl"], ["surrogate.jsonl:1: 'title' holds half a surrogate pair"]),
    **{
        name: ([*TUNE, f"data.train={name}.jsonl"], [f"{name}.jsonl:2: {told}"])
        for name, told in {
            "no-question": "'question' is empty",
            "no-answers": "'answers' is empty",
            "empty-context": "'context' is empty or not text",
            "empty-question": "'question' is empty or not text",
            "number-question": "'question' is empty or not text",
            "text-answers": "'answers' is neither",
            "uneven-answers": "'answers' has 1 texts and 0 starts",
            "empty-answer": "no answer; for questions without an answer use --task squad_v2",
            "negative-start": "answer 'tom reed' is not at character -24",
            "float-start": "an answer needs a text and a whole number",
            "far-start": "answer 'tom reed' is not at character 999",
            "unanswerable": "no answer; for questions without an answer use --task squad_v2",
        }.items()
    },
    "no files of one's own": (["finetune", "--task", "classification", "model.pretrained=encoder"], ["data.train: no such file: train.csv"]),
    "one label": ([*LABEL, "data.train=one-label.jsonl"], ["every one of the 2 training examples has the label 'a'", "data.label_column"]),
    "column of labels": ([*LABEL, "data.train=labels.jsonl", "data.label_column=lable"], ["labels.jsonl:1: no 'lable' (did you mean label?); fields are "]),
    "column of texts": ([*LABEL, "data.train=table.csv"], ["table.csv:2: no 'label'; fields are text; choose one with data.label_column (all rows of the train split are like this)", "Say which column to read"]),
    "fields of a row": ([*LABEL, "data.train=ragged.csv"], ["ragged.csv:3: the number of fields differs from the header's"]),
    "share as label": ([*LABEL, "data.train=shares.jsonl"], ["shares.jsonl:1: 'label' is no label but a number, 0.5", "--task regression"]),
    "secret labels": ([*LABEL, "--task", "glue/sst2", "data.train=secret.jsonl", "data.text_column=text"], ["no sentence of the train split has a label, so there is nothing to learn or to score: secret.jsonl:1: 'label' is -1"]),
    "label of another task": ([*LABEL, "--task", "glue/sst2", "data.train=labels.jsonl", "data.text_column=text"], ["labels.jsonl:1: 'label' is 'a'; labels are negative, positive, or their numbers 0 to 1"]),
    "row of another kind": ([*TUNE, "data.train=list.jsonl"], ["list.jsonl:1: expected an object"]),
    "no data": ([*TUNE, "data.train=no-data.json"], ["no-data.json: neither a list of rows"]),
    "no paragraphs": ([*TUNE, "data.train=no-paragraphs.json"], ["no-paragraphs.json: data[0]: expected an object with a list named 'paragraphs'"]),
    "no qas": ([*TUNE, "data.train=no-qas.json"], ["no-qas.json: data[0].paragraphs[0]: expected an object with a list named 'qas'"]),
    "odd qas": ([*TUNE, "data.train=odd-qas.json"], ["odd-qas.json: data[0].paragraphs[0].qas[0]: expected an object"]),
    "data bytes": ([*TUNE, "data.train=binary.json"], ["binary.json:2: not UTF-8 text (byte 0 of the line)"]),
    "data parquet": ([*TUNE, "data.train=odd.parquet"], ["odd.parquet: not readable as parquet"]),
    "data parquet column": ([*TUNE, "data.train=column.parquet"], ["column.parquet row 0: no 'context'"]),
    "data folder": ([*TUNE, "data.path=two"], ["two holds 2 files: train-a.jsonl, train-b.jsonl for the split train", "Name one: data.train=PATH, or all: data.train='two/train-*'"]),
    "data folder empty": ([*TUNE, "data.path=nothing"], ["nothing holds no file for the split train"]),
    "data folder not there": ([*TUNE, "data.path=./none"], ["data.path: no such file or folder: ./none"]),
    "tags and words": ([*TAG, "data.train=uneven-tags.jsonl"], ["uneven-tags.jsonl:1: 2 'tokens', but 1 'ner_tags': each word needs a tag"]),
    "word without a tag": ([*TAG, "data.train=column.conll"], ["column.conll:2: 1 column"]),
    "tags of two forms": ([*TAG, "data.train=scheme.conll"], ["some tags are like B-PER, others like PER"]),
    "columns in Latin 1": ([*TAG, "data.train=latin.conll"], ["latin.conll:2: not UTF-8 text (byte 0 of the line)"]),
    "no entity": ([*TAG, "data.train=plain.conll"], ["each word of the 1 training examples has the tag O"]),
    "tags column": ([*TAG, "data.train=good.conll", "data.tags_column=pos"], ["no 'pos'", "fields are tokens, tags; choose one with data.tags_column"]),
    "span of a page": ([*PAGES, "data.train=page-span.jsonl", "data.validation=page-span.jsonl"], ["page-span.jsonl:1: a short answer of tokens 1 to 99, but the document has 6"]),
    "no window left": ([*PAGES, "data.train=page-null.jsonl", "data.validation=page-null.jsonl", "data.null_windows=1e-9"], ["no window of the training examples holds an answer", "Raise data.null_windows"]),
    "share of windows": ([*PAGES, "data.null_windows=0"], ["data.null_windows: should be greater than 0"]),
    "packed and cut off": ([*PAGES, "data.train=cut.jsonl.gz", "data.validation=good.jsonl"], ["cut.jsonl.gz: damaged after line"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_message_and_nothing_changed(case: str, refused: Callable[[list[str], list[str]], None]) -> None:
    refused(*CASES[case])
