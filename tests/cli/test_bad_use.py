# ruff: noqa: E501 - a case a line
"""What is wrong with what `eval`, `ask`, `predict` and `verify` are given."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CONTEXT = "tom reed founded ambury."
SCORE = ["eval", "answerer", "--task", "squad", "--data"]
ASK = ["ask", "answerer", "-q"]
PREDICT = ["predict", "answerer", "--task", "squad", "-o", "p.jsonl"]

CASES: dict[str, tuple[list[str], list[str]]] = {
    "empty evaluation": (["eval", "answerer", "--task", "squad", "--data", "empty.jsonl"], ["the validation split holds no"]),
    "another head": (["eval", "encoder", "--task", "squad", "--data", "good.jsonl"], ["encoder has no question-answering head", "Fine-tune it first"]),
    "data off the hub": (["eval", "answerer", "--task", "squad", "--data", "some/data"], ["cannot be reached, and some/data was not downloaded"]),
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
    "null score": (["eval", "--predictions", "null_score.jsonl", "--task", "squad_v2", "--data", "good.jsonl"], ["null_score.jsonl:1: 'null_score' is not a number"]),
    "key of eval": ([*SCORE, "good.jsonl", "train.seed=1"], ["override train.seed=1: only keys of data have an effect here", "data.label_column=stars"]),
    "data split": ([*SCORE, "two", "--split", "dev"], ["local data has no split 'dev'", "Its splits are train, validation, test"]),
    "data split of files": ([*SCORE, "two", "--split", "test"], ["two holds no file for the split test"]),
    "data split of the demo": ([*SCORE, "demo", "--split", "test"], ["the demo has no split 'test'"]),
    "run broken": (["eval", "run-broken"], ["run-broken/recipe.yaml: not readable as a run's recipe"]),
    "run of a list": (["eval", "run-list"], ["run-list/recipe.yaml: not a run's recipe"]),
    "run unfinished": (["eval", "run-unfinished", "--data", "good.jsonl"], ["run-unfinished has no finished model", "--resume"]),
    "run damaged": (["ask", "run-damaged", "-q", "who?", "-c", CONTEXT], ["metrics.json is damaged"]),
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
    "rows not there": ([*PREDICT, "none.jsonl"], ["none.jsonl does not exist", "Give a file of rows"]),
    "rows of a folder": ([*PREDICT, "two"], ["two is a folder", "Give its files as a pattern such as 'two/*.jsonl'"]),
    "rows of no file": ([*PREDICT, "two/*.csv"], ["no file matches two/*.csv"]),
    "rows empty": ([*PREDICT, "empty.jsonl"], ["empty.jsonl holds no question"]),
    "rows twice": ([*PREDICT, "twice.jsonl"], ["twice.jsonl:2: id 'q1' is taken by twice.jsonl:1"]),
    "rows column": ([*PREDICT, "column.jsonl"], ["column.jsonl:1: 'context' is empty (did you mean contxt?)"]),
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
    "predictions of tags": (["eval", "--predictions", "short-tags.jsonl", "--task", "ner", "--data", "good.conll"], ["the prediction for 0 has 1 tags, its sentence 2 words"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_message_and_nothing_changed(case: str, refused: Callable[[list[str], list[str]], None]) -> None:
    refused(*CASES[case])
