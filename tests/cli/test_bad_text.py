# ruff: noqa: E501 - a case a line
"""Text to pretrain on that is wrong, and what it is tokenized with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

TOKENS = "tokenizer.path=encoder"
TRAIN = ["pretrain", "-r", "tiny/pretrain"]

CASES: dict[str, tuple[list[str], list[str]]] = {
    "block size": ([*TRAIN, "corpus.block_size=256"], ["corpus.block_size 256 exceeds"]),
    "corpus off the hub": (["tokenize", "-c", "wikipedia"], ["cannot be reached, and wikimedia/wikipedia was not downloaded"]),
    "no corpus": (["tokenize"], ["no text source given"]),
    "corpus not there": (["tokenize", "-c", "none.txt"], ["no such corpus: none.txt"]),
    "corpus key": (["tokenize", "-c", "one.txt,weigt=2"], ["sources[0].weigt: unknown key (did you mean weight?)"]),
    "no shards": ([*TRAIN, "corpus.path=nothing"], ["nothing holds no token shards", "llmkit tokenize"]),
    "one document": ([*TRAIN, "corpus.sources=[one.txt]", "corpus.tokenizer.vocab_size=100", "corpus.block_size=128"], ["do not fill one block of 128", "smaller corpus.block_size"]),
    "key without effect": (["tokenize", "-c", "one.txt,split=test"], ["one.txt: split has no effect on files"]),
    "documents without effect": (["tokenize", "-c", "good.jsonl,documents=blank_line,text_column=context"], ["documents has no effect on .jsonl files"]),
    "demo without effect": (["tokenize", "-c", "demo,name=x,revision=y"], ["demo: name, revision has no effect on the demo"]),
    "corpus bytes": (["tokenize", "-c", "binary.txt", TOKENS], ["binary.txt:2: not UTF-8 text (byte 0 of the line)"]),
    "corpus jsonl bytes": (["tokenize", "-c", "binary.jsonl", TOKENS], ["binary.jsonl:1: broken JSON"]),
    "corpus jsonl broken": (["tokenize", "-c", "broken.jsonl,text_column=question", TOKENS], ["broken.jsonl:2: broken JSON"]),
    "corpus jsonl list": (["tokenize", "-c", "list.jsonl", TOKENS], ["list.jsonl:1: expected a JSON object"]),
    "corpus jsonl field": (["tokenize", "-c", "good.jsonl", TOKENS], ["good.jsonl:1 has no column 'text'", "text_column="]),
    "corpus jsonl number": (["tokenize", "-c", "numbers.jsonl", TOKENS], ["numbers.jsonl:1: column 'text' does not hold text"]),
    "corpus jsonl surrogate": (["tokenize", "-c", "half.jsonl", TOKENS], ["half.jsonl:1: \\ud83d is an unpaired surrogate, half a character"]),
    "corpus parquet": (["tokenize", "-c", "odd.parquet", TOKENS], ["odd.parquet: not readable as parquet"]),
    "corpus parquet column": (["tokenize", "-c", "column.parquet", TOKENS], ["column.parquet has no column 'text'; columns are body"]),
    "corpus parquet number": (["tokenize", "-c", "numbers.parquet", TOKENS], ["numbers.parquet: column 'text' does not hold text"]),
    "corpus format": (["tokenize", "-c", "empty.yaml", TOKENS], ["empty.yaml: unsupported format", ".txt, .md, .jsonl"]),
    "corpus table column": (["tokenize", "-c", "uneven.csv", TOKENS], ["uneven.csv has no column 'text'; columns are context, question"]),
    "corpus table fields": (["tokenize", "-c", "uneven.csv,text_column=context", TOKENS], ["uneven.csv:3: the number of fields differs from the header's: 3, not 2"]),
    "corpus folder": (["tokenize", "-c", "answerer", TOKENS], ["answerer/config.json: neither a list of rows nor an object with a list named 'data'", "Name the text column: -c answerer,text_column="]),
    "corpus empty": (["tokenize", "-c", "empty.txt", TOKENS], ["the corpus holds no text"]),
    "corpus weight": (["tokenize", "-c", "one.txt,weight=0"], ["sources[0].weight: should be greater than 0"]),
    "corpus weight text": (["tokenize", "-c", "one.txt,weight=much"], ["sources[0].weight: should be a valid number"]),
    "corpus documents": (["tokenize", "-c", "one.txt,documents=word"], ["sources[0].documents: should be 'file', 'blank_line' or 'line'"]),
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
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_message_and_nothing_changed(case: str, refused: Callable[[list[str], list[str]], None]) -> None:
    refused(*CASES[case])
