"""What of a user's text strangers may read."""

from __future__ import annotations

import pytest

from llmkit.sharing.redact import shareable

TOKEN = "hf_" + "aBcDeFgHiJ" * 3


@pytest.mark.parametrize(
    ("private", "public"),
    [
        ("/home/jane/data/train.json", "…/train.json"),
        ("/home/jane/data/", "…/data"),
        ("~/data/train.json", "…/train.json"),
        ("~jane/train.json", "…/train.json"),
        ("../../jane/train.json", "…/train.json"),
        ("data.train=/home/jane/train.json", "data.train=…/train.json"),
        ("--output=/home/jane/runs/x", "--output=…/x"),
        ("/home/jane/books,weight=2,documents=file", "…/books,weight=2,documents=file"),
        ("corpus.sources=[/home/jane/a.txt, {path: /home/jane/b.txt}]", "corpus.sources=[…/a.txt, {path: …/b.txt}]"),
        ('["/home/jane/a.txt"]', '["…/a.txt"]'),
        ("/home/jane/books/**/*.txt", "…/*.txt"),
        (f"model.pretrained={TOKEN}", "model.pretrained=[hidden]"),
        (f"https://jane:secret@mirror.example/{TOKEN}", "https://mirror.example/[hidden]"),
        ("https://hf_short@mirror.example/x", "https://mirror.example/x"),
    ],
)
def test_paths_are_cut_and_secrets_hidden(private: str, public: str) -> None:
    assert shareable(private) == public
    assert shareable(public) == public


@pytest.mark.parametrize(
    "text",
    [
        "data/train.json",
        "./data/train.json",
        "runs/bert",
        "google-bert/bert-base-uncased",
        "data.path=rajpurkar/squad",
        "hf://datasets/rajpurkar/squad",
        "https://huggingface.co/datasets/rajpurkar/squad",
        "train.learning_rate=1e-4",
        "a / b",
        "refs/convert/parquet",
        "hf_mirror",
        "",
    ],
)
def test_what_gives_nothing_away_stays(text: str) -> None:
    assert shareable(text) == text


def test_values_inside_of_values() -> None:
    value = {"a": ["/home/jane/x", 1, None, True, 0.5], "b": {"c": "~/y"}}
    assert shareable(value) == {"a": ["…/x", 1, None, True, 0.5], "b": {"c": "…/y"}}
