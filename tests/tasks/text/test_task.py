"""Texts into texts: vocabularies that lose nothing, rows of every form, two BERTs that learn to write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from support import Command
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    BertModel,
    BertTokenizer,
    EncoderDecoderModel,
    T5Config,
    T5ForConditionalGeneration,
)

from llmkit.corpus.tokenizer import DECODER_TOKENIZER, load_tokenizer, save_tokenizer, tokenizer_fingerprint
from llmkit.corpus.vocabularies import train_bpe
from llmkit.models.checkpoint import Checkpoint
from llmkit.models.collator import Collator
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.inference import Copied
from llmkit.tasks.settings import settings_of
from llmkit.tasks.text.sections import TextData
from llmkit.tasks.text.task import Seq2Seq
from llmkit.tasks.values import Codec

pytestmark = pytest.mark.oldest
WRITING = [name for name, task in TASKS.items() if isinstance(task, Seq2Seq)]
ROWS = [
    {"source": "jump twice", "target": "I_JUMP I_JUMP"},
    {"source": "Wer wo?", "target": "SELECT \"a_b\" FROM c WHERE d = 'É' ;"},
    {"source": "a [MASK] b", "target": "x [SEP] y  z"},
]


@pytest.fixture(scope="module")
def bpe() -> Any:
    return train_bpe([text for row in ROWS for text in row.values()] * 3, 320)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_vocabulary_gives_every_text_back(text: str, bpe: Any) -> None:
    ids = bpe(text, split_special_tokens=True)["input_ids"]
    assert bpe.decode(ids, skip_special_tokens=True).strip() == text.strip()


def test_a_vocabulary_is_the_same_each_time_and_after_saving(bpe: Any, tmp_path: Path) -> None:
    again = train_bpe([text for row in ROWS for text in row.values()] * 3, 320)
    save_tokenizer(again, tmp_path / "saved")
    assert tokenizer_fingerprint(bpe) == tokenizer_fingerprint(load_tokenizer(str(tmp_path / "saved")))
    with pytest.raises(UserError, match="is too small for the 256 bytes"):
        train_bpe(["a"], 200)


def examples_for(task: Any, folder: Path, rows: list[dict[str, str]]) -> tuple[Dataset, TextData]:
    file = folder / "rows.jsonl"
    named = [{task.source: row["source"], task.target: row["target"]} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in named))
    data = TextData(validation=str(file))
    return load_examples(task, data, ["validation"])["validation"], data


@pytest.mark.parametrize("name", WRITING)
def test_contract(name: str, bpe: Any, tmp_path: Path) -> None:
    """What the gold targets become, decoded and scored, is worth 100."""
    task = TASKS[name]
    examples, data = examples_for(task, tmp_path, ROWS)
    codec = Codec(bpe, decoder_start=bpe.cls_token_id)
    features = task.encode(examples, codec, data, training=True)
    outputs = [{"ids": np.array([codec.decoder_start, *row["target_ids"]]), "score": np.float32(0)} for row in features]
    predictions = task.decode(outputs, features, examples, codec, data)
    assert [p.text for p in predictions] == examples["target"][:]
    assert {p.score for p in predictions} == {1.0}
    scores = task.score(predictions, examples, data)
    assert [scores[metric] for metric in task.headline] == pytest.approx([100.0] * len(task.headline))
    assert scores["total"] == 3
    worse = task.score(predictions[1:], examples, data)
    assert worse[task.metric] < 100, "an example without a prediction scores 0"


def test_rows_of_every_form(tmp_path: Path) -> None:
    task = TASKS["translation"]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"translation": {"en": " A dog. ", "fr": "Un chien."}}) + "\n")
    data = TextData(train=str(pairs), target_column="fr")
    row = load_examples(task, data, ["train"])["train"][0]
    assert (row["source"], row["target"], row["id"]) == ("A dog.", "Un chien.", "0")
    table = tmp_path / "pairs.tsv"
    table.write_text('en\tde\nA "dog.\tEin Hund.\n')
    assert load_examples(task, TextData(train=str(table)), ["train"])["train"][0]["source"] == 'A "dog.'


BAD = {
    "no target": ({"en": "a"}, "no 'de'; fields are en"),
    "mistyped": ({"en": "a", "deu": "b"}, "did you mean deu?"),
    "empty": ({"en": " ", "de": "b"}, "'en' is empty or not text"),
    "number": ({"en": "a", "de": 3}, "'de' is empty or not text"),
    "translation": ({"translation": "a"}, "'translation' is not an object of languages"),
    "language": ({"translation": {"en": "a", "fr": "b"}}, "no 'de'"),
    "half": ({"en": "a", "de": "\ud83d"}, "half a surrogate pair"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows(case: str, tmp_path: Path) -> None:
    row, message = BAD[case]
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"en": "a", "de": "b"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError) as caught:
        load_examples(TASKS["translation"], TextData(train=str(file)), ["train"])
    assert f"rows.jsonl:2: {message}" in str(caught.value) or message in str(caught.value)


def test_a_decoder_reads_what_it_is_to_write_a_token_later(bpe: Any) -> None:
    codec = Codec(bpe, decoder_start=7)
    collate = Collator(bpe, lambda rows, length: TASKS["scan"].head.targets(rows, length, codec))
    batch = collate(
        [
            {"input_ids": [2, 9, 3], "length": 3, "target_ids": [11, 12, 3]},
            {"input_ids": [2, 3], "length": 2, "target_ids": [3]},
        ]
    )
    assert batch["labels"].tolist() == [[11, 12, 3], [3, -100, -100]]
    assert batch["decoder_input_ids"].tolist() == [[7, 11, 12], [7, 0, 0]]


COMMANDS = [
    {"commands": f"{word} {often}", "actions": " ".join([f"I_{word.upper()}"] * (2 if often == "twice" else 1))}
    for word in ("jump", "walk", "look", "run")
    for often in ("twice", "once")
]
SHAPE = "{hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}"


@pytest.fixture
def commands(tmp_path: Path) -> list[str]:
    file = tmp_path / "commands.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in COMMANDS))
    lengths = ["data.max_length=16", "data.max_target_length=16"]
    steps = ["train.max_steps=120", "train.eval_steps=120", "train.per_device_train_batch_size=8"]
    rate = ["train.learning_rate=0.01", "train.num_train_epochs=null", f"model.config={SHAPE}"]
    return [f"data.train={file}", f"data.validation={file}", *lengths, *steps, *rate, "model.vocab_size=340"]


@pytest.mark.slow
def test_two_berts_learn_to_write(commands: list[str], llmkit: Command, tmp_path: Path) -> None:
    code, out, err = llmkit("finetune", "-r", "scan", *commands, "-o", "run")
    assert code == 0, err
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["exact_match"] == 100.0
    assert "8 commands" in out
    # The numbers again, from the run and from its predictions; and plain transformers loads and writes with it.
    code, out, err = llmkit("eval", "run", "--json")
    assert code == 0, err
    assert json.loads(out) == scores
    file = commands[1].partition("=")[2]
    scored = ["eval", "--predictions", "run/predictions.jsonl", "--data", file, "--task", "scan", "--json"]
    assert json.loads(llmkit(*scored)[1]) == scores
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run" / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    written = model.generate(**tokenizer("jump twice", return_tensors="pt", return_token_type_ids=False))
    assert tokenizer.decode(written[0], skip_special_tokens=True) == "I_JUMP I_JUMP"


def test_an_encoder_becomes_both_halves(commands: list[str], llmkit: Command, tmp_path: Path) -> None:
    """A BERT that reads and a decoder that writes with a vocabulary of its own, with beams, resumed by other steps."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "jump", "walk", "look", "run", "twice", "once"]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertForMaskedLM(BertConfig(vocab_size=len(words), **shape)).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    kept = [c for c in commands if not c.startswith("model.")]
    model = ["model.pretrained=bert", "model.decoder_vocab_size=340", "generation.num_beams=3"]
    code, _, err = llmkit("finetune", "-r", "scan", *kept, *model, "-o", "run")
    assert code == 0, err
    assert "both halves start from its weights" in err
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["exact_match"] > 80
    assert (tmp_path / "run" / "model" / "decoder_tokenizer" / "tokenizer.json").is_file()
    code, out, err = llmkit("eval", "run", "--json")
    assert json.loads(out) == scores, err


def test_what_does_not_go_together(commands: list[str], llmkit: Command) -> None:
    for override, told in {
        "model.tokenizer=x": "",
        "model.decoder_vocab_size=10": "model.decoder_vocab_size: should be greater than or equal to 300",
        "generation.length_penalty=0.5": "length_penalty has no effect with one beam",
        "data.max_target_length=600": "data.max_length 600 exceeds the 512 positions",
        "data.source_column=cmd": "no 'cmd'",
    }.items():
        code, _, err = llmkit("finetune", "-r", "scan", *commands, override, "-o", "run")
        assert code == 1
        assert told in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("own", "said", "limit"),
    [
        ({}, {}, 128),  # in place of transformers' 20
        ({"max_length": 143}, {}, 142),
        ({"max_new_tokens": 60}, {}, 60),
        ({"max_length": 143}, {"max_target_length": 30}, 30),
        ({}, {"max_target_length": 30}, 30),
    ],
)
def test_how_long_a_text_may_be(
    own: dict[str, int], said: dict[str, int], limit: int, bpe: Any, llmkit: Command, tmp_path: Path
) -> None:
    """A checkpoint of others says it or not; what a user says counts more."""
    sizes = {"vocab_size": len(bpe), "d_model": 8, "num_layers": 1, "d_ff": 8, "num_heads": 1, "d_kv": 8}
    model = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0, eos_token_id=None))
    model.generation_config.update(**own, eos_token_id=None)  # it never stops by itself
    model.save_pretrained(tmp_path / "t5")
    bpe.save_pretrained(tmp_path / "t5")
    data = TextData(validation="x", **said)
    task = TASKS["translation"]
    loaded, _ = task.load_trained(Checkpoint.named(str(tmp_path / "t5")), data)
    (output,) = Copied(task.head.outputs(loaded, {"input_ids": torch.tensor([[5, 6]])})).rows(None)
    assert len(output["ids"]) == limit + 1, "and the token that it begins with"
    if said:
        (tmp_path / "rows.jsonl").write_text('{"en": "a b", "de": "c"}\n')
        words = [f"data.{key}={value}" for key, value in said.items()]
        settings = settings_of(str(tmp_path / "t5"), "translation", str(tmp_path / "rows.jsonl"), words)
        assert isinstance(settings.data, TextData)
        assert settings.data.max_target_length == limit
    other = settings_of(str(tmp_path / "t5"), "translation", str(tmp_path / "rows.jsonl"), ["data.max_length=20"])
    assert "max_target_length" not in other.data.model_fields_set, "an override of one key says nothing of others"


def two_berts(folder: Path, reader: Any, writer: Any, **settings: Any) -> str:
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = EncoderDecoderModel(
        encoder=BertModel(BertConfig(vocab_size=len(reader), **shape), add_pooling_layer=False),
        decoder=BertLMHeadModel(BertConfig(vocab_size=len(writer), is_decoder=True, add_cross_attention=True, **shape)),
    )
    model.generation_config.update(**settings)
    model.save_pretrained(folder)
    reader.save_pretrained(folder)
    writer.save_pretrained(folder / DECODER_TOKENIZER)
    return str(folder)


def test_vocabularies_of_the_same_size_are_two(tmp_path: Path) -> None:
    reader, writer = train_bpe(["to read"] * 3, 264), train_bpe(["schreiben"] * 3, 264)
    assert len(reader) == len(writer)
    name = two_berts(tmp_path / "model", reader, writer, decoder_start_token_id=2)
    _, codec = TASKS["translation"].load_trained(Checkpoint.named(name), TextData(validation="x"))
    assert codec.own_target_tokenizer is not None
    assert codec.target_tokenizer.get_vocab() == writer.get_vocab() != codec.tokenizer.get_vocab()


def test_after_which_token_a_text_is_written(bpe: Any, tmp_path: Path) -> None:
    """In the settings, in config.json, by the name that decoders alone use, or nowhere."""
    data, task = TextData(validation="x"), TASKS["translation"]
    for number, settings in enumerate(({"decoder_start_token_id": 7}, {"bos_token_id": 7})):
        name = two_berts(tmp_path / str(number), bpe, bpe, **settings)
        model, codec = task.load_trained(Checkpoint.named(name), data)
        assert codec.decoder_start == 7
        assert model.generation_config is not None
        assert model.generation_config.decoder_start_token_id == 7
    file = Path(two_berts(tmp_path / "config", bpe, bpe)) / "config.json"
    (file.parent / "generation_config.json").unlink()
    with pytest.raises(UserError, match="does not say which token"):
        task.load_trained(Checkpoint.named(str(file.parent)), data)
    file.write_text(json.dumps({**json.loads(file.read_text()), "decoder_start_token_id": 7}))
    assert task.load_trained(Checkpoint.named(str(file.parent)), data)[1].decoder_start == 7


def test_texts_leave_no_length_in_a_tokenizer(bpe: Any, tmp_path: Path) -> None:
    before = tokenizer_fingerprint(bpe)
    task = TASKS["translation"]
    examples, _ = examples_for(task, tmp_path, ROWS)
    codec = Codec(bpe, decoder_start=bpe.cls_token_id)
    task.encode(examples, codec, TextData(validation="x", max_length=16, max_target_length=5), training=True)
    assert tokenizer_fingerprint(bpe) == before
    bpe.backend_tokenizer.enable_truncation(9)
    bpe.backend_tokenizer.enable_padding(length=9)
    bpe.save_pretrained(tmp_path / "cut")
    assert tokenizer_fingerprint(load_tokenizer(str(tmp_path / "cut"))) == before
    load = load_tokenizer(str(tmp_path / "cut"))
    assert len(load("a b " * 20)["input_ids"]) > 9


def test_a_tokenizer_of_another_library(bpe: Any, tmp_path: Path) -> None:
    bpe.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "MarianTokenizer"}')
    with pytest.raises(UserError, match="tokenizer"):
        load_tokenizer(str(tmp_path))
