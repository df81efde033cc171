"""Tags of words: rows, sentences in parts, scores, and the commands on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Command
from transformers import BertConfig, BertForMaskedLM, BertTokenizer
from transformers.models.roberta import RobertaTokenizer

from llmkit import api
from llmkit.models.collator import Collator
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import examples_of
from llmkit.tasks.predictions import read_predictions
from llmkit.tasks.tags.sections import TagData
from llmkit.tasks.values import IGNORED, Codec, Prediction, Published

pytestmark = pytest.mark.oldest
NER, POS = TASKS["ner"], TASKS["pos"]
LETTERS = "abcdefghijklmnopqrstuvwxyz.-"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS), "ship", "sails", "mr"]
DATA = TagData(path="x", max_length=16)
TOM = {"tokens": ["mr", "tom", "reed", "sails"], "ner_tags": ["O", "B-PER", "I-PER", "O"]}


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)})


def examples_from(*rows: dict[str, Any], **data: Any) -> Dataset:
    placed = ((f"row {number}", row) for number, row in enumerate(rows))
    return examples_of(NER, placed, TagData(path="x", **data), "train", labelled=True)


def oracle(features: Dataset, codec: Codec) -> list[dict[str, Any]]:
    """The outputs of a model that knows; what it says of pieces that begin no word is noise."""
    noise = np.random.default_rng(0)
    outputs = []
    for labels in features["tag_labels"]:
        logits = noise.normal(size=(len(labels), len(codec.labels))).astype(np.float32)
        for place, label in enumerate(labels):
            if label != IGNORED:
                logits[place, label] = 20.0
        outputs.append({"logits": logits})
    return outputs


WORD = st.text(st.sampled_from([*LETTERS, "É", "\u200b", "漢", " "]), min_size=1, max_size=30)
TAG = st.sampled_from(["O", "B-PER", "I-PER", "B-ORG", "I-ORG"])


@settings(max_examples=settings.default.max_examples // 4)
@given(sentences=st.lists(st.lists(st.tuples(WORD, TAG), min_size=1, max_size=30), min_size=1, max_size=4))
def test_contract(sentences: list[list[tuple[str, str]]], tokenizer: Any) -> None:
    """Gold tags become outputs, and those the same tags: of every word, however long its sentence, and once."""
    known = [("ship", "O"), ("tom", "B-PER")]
    rows = [
        {"tokens": [word for word, _ in sentence], "tags": [tag for _, tag in sentence]}
        for sentence in [known, *sentences]
    ]
    examples = examples_from(*rows)
    codec = Codec(tokenizer, labels=NER.labels(examples))
    assert codec.labels[0] == "O"
    assert list(codec.labels[1:]) == sorted(codec.labels[1:])
    features = NER.encode(examples, codec, DATA, training=True)
    assert max(features["length"]) <= 16
    assert all(len(row["input_ids"]) == row["length"] == len(row["tag_labels"]) for row in features)
    predictions = NER.decode(oracle(features, codec), features, examples, codec, DATA)
    assert [p.text.split(" ") for p in predictions] == examples["tags"][:]
    scores = NER.score(predictions, examples, DATA)
    assert {scores[name] for name in (*NER.headline, "accuracy")} == {100.0}
    assert (scores["total"], scores["words"]) == (len(rows), sum(len(row["tokens"]) for row in rows))


def test_a_short_sentence_is_what_the_tokenizer_makes_of_it(tokenizer: Any) -> None:
    examples = examples_from(TOM)
    codec = Codec(tokenizer, labels=NER.labels(examples))
    (row,) = NER.encode(examples, codec, DATA, training=True)
    assert row["input_ids"] == tokenizer(TOM["tokens"], is_split_into_words=True)["input_ids"]
    assert row["first"] == [1, 2, 5, 9]
    assert [codec.labels[n] for n in row["tag_labels"] if n != IGNORED] == TOM["ner_tags"]
    batch = Collator(tokenizer, lambda rows, length: NER.head.targets(rows, length, codec))([row])
    assert batch["labels"].shape == batch["input_ids"].shape
    assert "tag_labels" not in NER.encode(examples, codec, DATA, training=False).column_names


def test_a_word_that_a_tokenizer_makes_nothing_of_is_an_unknown_one(tokenizer: Any) -> None:
    examples = examples_from({"tokens": ["ship", "\u200b", "ship"], "tags": ["O", "B-PER", "I-PER"]})
    codec = Codec(tokenizer, labels=NER.labels(examples))
    (row,) = NER.encode(examples, codec, DATA, training=True)
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["[CLS]", "ship", "[UNK]", "ship", "[SEP]"]
    assert row["first"] == [1, 2, 3]


def test_a_long_sentence_is_cut_into_parts_of_about_the_same_length(tokenizer: Any) -> None:
    examples = examples_from({"tokens": ["ship"] * 15, "tags": ["O"] * 14 + ["B-PER"]})
    codec = Codec(tokenizer, labels=NER.labels(examples))
    features = NER.encode(examples, codec, DATA, training=False)
    assert features["length"][:] == [8 + 2, 7 + 2]
    assert features["example"][:] == [0, 0]


def test_a_vocabulary_of_bytes_reads_each_word_as_one_behind_a_space() -> None:
    letters = [*LETTERS, "Ġ"]
    vocab = {piece: n for n, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters])}
    roberta = RobertaTokenizer(vocab=vocab, merges=[])
    examples = examples_from(TOM)
    codec = Codec(roberta, labels=NER.labels(examples))
    (row,) = NER.encode(examples, codec, TagData(path="x", max_length=64), training=True)
    pieces = roberta.convert_ids_to_tokens(row["input_ids"])
    assert "".join(pieces) == "<s>ĠmrĠtomĠreedĠsails</s>"
    assert [pieces[place] for place in row["first"]] == ["Ġ"] * 4


def test_a_tokenizer_without_a_token_for_the_unknown_is_refused() -> None:
    left = BertTokenizer(vocab={piece: n for n, piece in enumerate(PIECES)}, padding_side="left")
    with pytest.raises(UserError, match="a BertTokenizer does not suit ner"):
        NER.encode(examples_from(TOM), Codec(left, labels=("O",)), DATA, training=False)


def test_scores(tokenizer: Any) -> None:
    examples = examples_from(
        {**TOM, "id": "a"}, {"id": "b", "tokens": ["ship", "bounty"], "ner_tags": ["B-ORG", "I-ORG"]}
    )
    right = Prediction("a", "O B-PER I-PER O", 1.0)
    half = NER.score([right, Prediction("b", "B-ORG O", 1.0)], examples, DATA)
    assert (half["f1"], half["precision"], half["recall"]) == (50.0, 50.0, 50.0)
    assert half["accuracy"] == pytest.approx(100 * 5 / 6)
    assert half["per_type"]["PER"] == {"f1": 100.0, "precision": 100.0, "recall": 100.0, "support": 1}
    low, high = half["f1_interval"]
    assert low <= 50.0 <= high
    missing = NER.score([right], examples, DATA)
    assert (missing["recall"], missing["precision"]) == (50.0, 100.0)
    assert missing["accuracy"] == pytest.approx(100 * 4 / 6)
    with pytest.raises(UserError, match="the prediction for b has 1 tags, its sentence 2 words"):
        NER.score([right, Prediction("b", "O", 1.0)], examples, DATA)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "lengths": ({"tokens": ["a", "b"], "ner_tags": ["O"]}, "2 'tokens', but 1 'ner_tags': each word needs a tag"),
    "no words": ({"tokens": [], "ner_tags": []}, "'tokens' is empty: a sentence without words"),
    "empty word": ({"tokens": ["a", ""], "ner_tags": ["O", "O"]}, "word 2 of 'tokens' is empty or not text: ''"),
    "number as word": ({"tokens": [3], "ner_tags": ["O"]}, "word 1 of 'tokens' is empty or not text: 3"),
    "text as words": ({"tokens": "a b", "ner_tags": ["O"]}, "'ner_tags' holds tags of words, but 'tokens' is a text"),
    "neither text nor words": ({"tokens": {"0": "a"}, "ner_tags": ["O"]}, "'tokens' is not a list"),
    "no tag": ({"tokens": ["a"], "ner_tags": [None]}, "tag 1 of 'ner_tags' is empty or not text: None"),
    "blank in a tag": ({"tokens": ["a"], "ner_tags": ["B-big ship"]}, "contains white space: 'B-big ship'"),
    "a table's tags": (
        {"tokens": "a b", "ner_tags": "O O"},
        "'ner_tags' is not a list; a table holds no lists",
    ),
    "no text": ({"text": " ", "entities": []}, "'text' is empty: a text without words"),
    "mistyped": ({"tokns": ["a"], "ner_tags": ["O"]}, "no 'tokens' (did you mean tokns?)"),
    "half a pair": ({"tokens": ["\ud800"], "ner_tags": ["O"]}, "half a surrogate pair"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows(case: str) -> None:
    row, message = BAD[case]
    with pytest.raises(UserError) as caught:
        examples_from(TOM, row)
    assert caught.value.problems[0].startswith("row 1: ")
    assert message in caught.value.problems[0]


def test_tags_by_number_need_names() -> None:
    row = {"tokens": ["tom", "reed", "sails"], "ner_tags": [1, "2", 0]}
    with pytest.raises(UserError, match="tag 1 of 'ner_tags' is the number 1, and nothing says") as caught:
        examples_from(row)
    assert "data.tag_names=[O,B-PER,I-PER]" in str(caught.value.remedy)
    assert examples_from(row, tag_names=["O", "B-PER", "I-PER"])["tags"][:] == [["B-PER", "I-PER", "O"]]
    with pytest.raises(UserError, match=r"is the number 2, but data\.tag_names has numbers 0 to 1"):
        examples_from(row, tag_names=["O", "B-PER"])


def test_two_forms_of_tags_are_refused_before_training(tokenizer: Any) -> None:
    examples = examples_from(TOM, {"tokens": ["tom"], "ner_tags": ["PER"]})
    codec = Codec(tokenizer, labels=POS.labels(examples))
    with pytest.raises(UserError, match="some tags are like B-PER, I-PER, others like PER"):
        NER.labels(examples)
    with pytest.raises(UserError, match="some tags are like B-PER, I-PER, others like PER"):
        NER.encode(examples, codec, DATA, training=False)
    assert len(POS.encode(examples, codec, DATA, training=True)) == 2


def test_parts_of_speech(tokenizer: Any) -> None:
    """Accuracy decides, and a tag O is a tag like any other. As entities, they are words."""
    rows = [{"tokens": ["a", "ship"], "tags": ["DET", "NOUN"]}, {"tokens": ["sails"], "tags": ["VERB"]}]
    examples = examples_from(*rows)
    predictions = [Prediction("0", "DET O", 1.0)]
    scores = POS.score(predictions, examples, DATA)
    assert (scores["accuracy"], scores["macro_f1"], scores["words"]) == (pytest.approx(100 / 3), 25.0, 3)
    assert set(scores["per_type"]) == {"DET", "NOUN", "O", "VERB"}
    low, high = scores["accuracy_interval"]
    assert low <= 100 / 3 <= high
    found = NER.score([Prediction("0", "DET DET", 1.0), Prediction("1", "VERB", 1.0)], examples, DATA)
    assert found["f1"] == found["accuracy"] == pytest.approx(200 / 3)
    assert POS.labels(examples) == ("DET", "NOUN", "VERB")
    splits = DatasetDict(train=examples, validation=examples)
    told = [line for _, line in NER.describe_data(splits, Codec(tokenizer, labels=NER.labels(examples)))]
    assert told == ["tags: 3 tags, each word on its own; 3 words: DET 1, NOUN 1, VERB 1"]


def test_predictions_of_before_have_no_entities(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    row = {"id": "0", "text": "O B-PER", "score": 0.5}
    others = {
        "start": None,
        "end": None,
        "null_score": None,
        "candidates": [],
    }  # were in all files
    file.write_text(json.dumps({**row, **others}))
    (prediction,) = read_predictions(file)
    assert json.loads(json.dumps(prediction.as_row())) == row
    mention = {"type": "PER", "text": "b", "start": 2, "end": 3, "start_word": 1, "end_word": 2, "score": 0.5}
    file.write_text(json.dumps({**row, "entities": [mention]}))
    (prediction,) = read_predictions(file)
    assert json.loads(json.dumps(prediction.as_row())) == {**row, "entities": [mention]}


@pytest.mark.parametrize(
    ("labels", "joined"),
    [(["O", "B-PER", "I-PER"], True), (["O", "PER"], True), (["O", "S-PER", "B-PER"], False), (["X", "Y"], False)],
)
def test_the_cards_example_joins_words_where_transformers_can(labels: list[str], joined: bool) -> None:
    code = NER.usage_example(Published("a/b", {"id2label": dict(enumerate(labels))}, {}, None, False))
    assert ('aggregation_strategy="first"' in code) == joined


def test_columns_by_other_names() -> None:
    row = {"words": ["a"], "entities": ["B-X"], "tags": ["O"]}
    examples = examples_from(row, tokens_column="words", tags_column="entities")
    assert examples["tags"][:] == [["B-X"]]
    assert examples_from({"tokens": ["a"], "tags": ["B-Y"]})["tags"][:] == [["B-Y"]]
    marked = examples_from({"body": "a, b", "marks": [[0, 1, "X"]]}, tokens_column="body", tags_column="marks")
    assert marked["tags"][:] == [["B-X", "O", "O"]]
    prodigy = {"text": "a b", "tokens": [{"text": "a", "start": 0}], "spans": [{"start": 0, "end": 1, "label": "X"}]}
    assert examples_from(prodigy)["tokens"][:] == [["a", "b"]]
    unlabelled = examples_of(NER, [("row", {"tokens": ["a"]})], DATA, "test", labelled=False)
    assert unlabelled["tags"][:] == [[]]


def test_sentences_without_entities_cannot_be_learned_from() -> None:
    with pytest.raises(UserError, match="each word of the 1 training examples has the tag O"):
        NER.labels(examples_from({"tokens": ["a"], "tags": ["O"]}))


def sentences(count: int, tags: Sequence[str] = ("B-PER", "O")) -> str:
    """Who is behind `mr` is a person, what is behind `ship` is none."""
    words = [
        ("mr", "ship")[n % 2] + f" O\n{LETTERS[n % 26]}{LETTERS[n % 7]} {tags[n % 2]}\nsails O\n" for n in range(count)
    ]
    return "\n".join(words)


def check_predictions_of_texts(folder: Path, llmkit: Command) -> None:
    """A text that is not split has its entities found, with their characters; they serve as gold again."""
    text = "Mr  ab sails. mr cd: sails"
    (folder / "raw.jsonl").write_text(json.dumps({"text": text}))
    code, _, err = llmkit("predict", "run", "raw.jsonl", "-o", "found.jsonl")
    assert code == 0, err
    found = json.loads((folder / "found.jsonl").read_text())
    places = [(entity["type"], entity["text"], entity["start"], entity["end"]) for entity in found["entities"]]
    assert places == [("PER", "ab", 4, 6), ("PER", "cd", 17, 19)]
    assert [(entity["start_word"], entity["end_word"]) for entity in found["entities"]] == [(1, 2), (5, 6)]
    (prediction,) = api.predict(str(folder / "run"), [{"text": text}])
    assert json.loads(json.dumps(prediction.as_row())) == found
    (words,) = api.predict(str(folder / "run"), [{"tokens": ["mr", "ab", "sails"]}])
    assert words.entities is not None
    assert [(entity.text, entity.start, entity.end) for entity in words.entities] == [("ab", 3, 5)]
    (folder / "marked.jsonl").write_text(json.dumps({"text": text, "entities": found["entities"]}))
    code, out, err = llmkit("eval", "run", "--data", "marked.jsonl", "--json")
    assert code == 0, err
    assert (json.loads(out)["f1"], json.loads(out)["support"]) == (100, 2)
    assert "inside a word" not in err
    (folder / "marked.jsonl").write_text(json.dumps({"text": text, "entities": [[4, 5, "PER"]]}))
    code, _, err = llmkit("eval", "run", "--data", "marked.jsonl")
    assert code == 0, err
    assert "warning: 1 entity begins or ends inside a word; whole words are taken" in err


def test_from_columns_to_scores(tokenizer: Any, tmp_path: Path, llmkit: Command) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    encoder = BertForMaskedLM(BertConfig(vocab_size=len(PIECES), hidden_dropout_prob=0.0, **shape))
    encoder.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    (tmp_path / "train.conll").write_text(sentences(120))
    (tmp_path / "validation.conll").write_text(sentences(30) + "\na B-LOC\n")
    tiny = ["-r", "tiny/ner", "model.pretrained=encoder", "train.max_steps=60", "train.learning_rate=1e-2"]
    code, out, err = llmkit("finetune", *tiny, "data.max_length=16", "-o", "run")
    assert code == 0, err
    assert "tags: IOB, 1 type; 60 entities in 360 words: PER 60" in err
    assert "1 of 91 words have a tag that does not occur in the training examples, and count as wrong: B-LOC (1)" in err
    assert "31 sentences" in out
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["f1"] > 90
    assert scores["per_type"]["LOC"]["f1"] == 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "O", "1": "B-PER"}
    code, out, err = llmkit("eval", "run", "--json")
    assert code == 0, err
    assert json.loads(out) == scores
    assert "1 of 91 words have a tag that run does not know" in err
    code, out, err = llmkit("eval", "run")
    assert "PER" in out
    predictions = (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()
    assert json.loads(predictions[0])["text"] == "O B-PER O"
    code, out, err = llmkit(
        "eval", "--predictions", "run/predictions.jsonl", "--task", "ner", "--data", "validation.conll", "--json"
    )
    assert code == 0, err
    assert json.loads(out) == scores
    check_predictions_of_texts(tmp_path, llmkit)
    (tmp_path / "other.conll").write_text("a B-LAW\n")
    code, _, err = llmkit("eval", "run", "--data", "other.conll")
    assert code == 1
    assert "run knows none of the tags of the data: it has 2 labels (O, B-PER), the data 1 label (B-LAW)" in err
