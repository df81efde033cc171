"""A ModernBERT of ours through every command: pretrained with either vocabulary, fine-tuned for every kind of task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import Command
from support.runs import command, questions, write_questions
from support.tasks import fixture
from support.tokenizer_families import tokenizer_of
from transformers import AutoModelForMaskedLM, AutoTokenizer, ModernBertForMaskedLM, pipeline

from llmkit.models.masked_lm import model_for_pretraining
from llmkit.models.onnx import OnnxModel
from llmkit.recipes.pretraining import ModelSection, PretrainRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.tasks.settings import settings_of

VOCABULARIES = {"wordpiece": "{vocab_size: 300}", "bpe": "{type: bpe, vocab_size: 400}"}
WINDOW = 16  # of tiny/modernbert's local attention; a token sees 8 on either side
LEARNING = ["train.max_steps=90", "train.learning_rate=0.005", "train.eval_steps=90", "train.warmup_steps=0"]
KINDS = ["squad", "squad_v2", "classification", "regression", "ner", "natural_questions"]
DOCUMENTS = (20, 61, 47)  # tokens of the documents of a block
WORDS = ["Ines", "Carrow", "built", "the", "old", "lamp", "of", "Velmora", "in", "1874"]


@pytest.fixture(scope="module", params=[pytest.param("wordpiece", marks=pytest.mark.slow), "bpe"])
def pretrained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/base, a ModernBERT with one of the vocabularies, and its corpus."""
    folder = tmp_path_factory.mktemp(request.param)
    text = "".join(f"{row['context']} {row['question']}\n\n{' '.join(WORDS)}.\n\n" for row in questions())
    (folder / "text.txt").write_text(text * 20, encoding="utf-8")
    command(
        folder,
        *("pretrain", "-r", "tiny/modernbert", "-o", "runs/base", "train.max_steps=10"),
        *(
            "corpus.sources=['text.txt,documents=blank_line']",
            f"corpus.tokenizer={VOCABULARIES[request.param]}",
        ),
    )
    return folder


def rows(task: str) -> list[dict[str, Any]]:
    """Rows that can be learned by heart; some are longer than the window of local attention."""
    if task == "natural_questions":
        lines = fixture(task).read_text(encoding="utf-8").splitlines() * 4
        return [{**json.loads(line), "example_id": number} for number, line in enumerate(lines)]
    found: list[dict[str, Any]] = []
    for number in range(16):
        yes = number % 2 == 0
        words = [*WORDS[: 2 + number % 5], "lamp" if yes else "sea", *WORDS * (number % 3)]
        match task:
            case "ner":
                named = {"Ines": "B-PER", "Carrow": "I-PER", "Velmora": "B-LOC"}
                found.append({"tokens": words, "tags": [named.get(word, "O") for word in words]})
            case "regression":
                found.append({"text": " ".join(words), "label": 2.5 if yes else -1.5})
            case _:
                found.append({"text": " ".join(words), "label": "lamp" if yes else "sea"})
    return found


def finetuned(folder: Path, task: str, run: Path) -> dict[str, Any]:
    """Fine-tune runs/base until it knows the rows, to `run`; returns the scores."""
    file = run.with_suffix(".jsonl")
    if task.startswith("squad"):
        write_questions(file, unanswerable=task == "squad_v2")
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows(task)), encoding="utf-8")
    recipe = "classification" if task == "regression" else task
    also = ["task=regression"] if task == "regression" else []
    data = [f"data.train={file}", f"data.validation={file}"]
    command(
        folder,
        "finetune",
        "-r",
        f"tiny/{recipe}",
        *also,
        "model.pretrained=runs/base",
        *data,
        *LEARNING,
        "-o",
        str(run),
    )
    scores: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return scores


def same_in_transformers(run: Path) -> float:
    """The largest difference between logits of the run's model: padded in a batch, and alone in transformers."""
    settings = settings_of(str(run), None, None)
    model, _ = settings.task.load_trained(settings.checkpoint, settings.data)
    plain = settings.task.head.auto.from_pretrained(run / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    texts = [" ".join(WORDS[:3]), " ".join(WORDS * 4)]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    assert batch["input_ids"].shape[1] > 2 * WINDOW
    largest = 0.0
    with torch.inference_mode():
        together = model.eval()(**batch)
        for number, text in enumerate(texts):
            for name, alone in plain(**tokenizer(text, return_tensors="pt")).items():
                length = alone.shape[1]
                largest = max(largest, float((together[name][number][:length] - alone[0]).abs().max()))
    return largest


class TestPretrained:
    def test_the_model_is_a_plain_one(self, pretrained: Path) -> None:
        model, info = AutoModelForMaskedLM.from_pretrained(pretrained / "runs/base/model", output_loading_info=True)
        assert type(model) is ModernBertForMaskedLM
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert model.config.architectures == ["ModernBertForMaskedLM"]
        tokenizer = AutoTokenizer.from_pretrained(pretrained / "runs/base/model")
        assert tokenizer.model_input_names == ["input_ids", "attention_mask"]
        assert (model.config.cls_token_id, model.config.sep_token_id) == (
            tokenizer.cls_token_id,
            tokenizer.sep_token_id,
        )

    def test_its_logits_are_those_of_plain_transformers(self, pretrained: Path) -> None:
        """A block of documents, some longer than the local window; for transformers each is alone, or padded."""
        folder = str(pretrained / "runs/base/model")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = model_for_pretraining(ModelSection(pretrained=folder), tokenizer, sum(DOCUMENTS)).eval()
        plain = AutoModelForMaskedLM.from_pretrained(folder).eval()
        ids = torch.randint(5, len(tokenizer), (1, sum(DOCUMENTS)), generator=torch.Generator().manual_seed(0))
        parts = ids[0].split(DOCUMENTS)
        places = torch.cat([torch.arange(length) for length in DOCUMENTS])[None]
        starts = torch.tensor([0, *DOCUMENTS]).cumsum(0).to(torch.int32)
        padded = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=tokenizer.pad_token_id)
        real = torch.arange(max(DOCUMENTS)) < torch.tensor(DOCUMENTS)[:, None]
        with torch.inference_mode():
            ours = model.masked_logits(ids, places, starts, torch.arange(sum(DOCUMENTS)))
            alone = torch.cat([plain(input_ids=part[None]).logits[0] for part in parts])
            together = plain(input_ids=padded, attention_mask=real.long()).logits[real]
        largest = max(float((ours - other).abs().max()) for other in (alone, together))
        print(f"largest difference of a logit: {largest:.1e}, of logits up to {float(ours.abs().max()):.1f}")
        assert largest <= 1e-5

    def test_masks_are_filled(self, pretrained: Path) -> None:
        fill = pipeline("fill-mask", model=str(pretrained / "runs/base/model"))
        found = fill(f"The old {fill.tokenizer.mask_token} of Velmora.")
        assert len(found) == 5
        assert found[0]["sequence"].startswith("the old")


def test_from_random_weights_with_a_tokenizer_of_bert(llmkit: Command, tmp_path: Path) -> None:
    """It has no segments, and so its inputs have none."""
    tokenizer_of("bert-uncased").save_pretrained(tmp_path / "bert")
    write_questions(tmp_path / "rows.jsonl")
    shape = read_recipe(PretrainRecipe, "tiny/modernbert").model.config
    assert shape is not None
    model = [f"model.config={json.dumps(shape.model_dump())}", "model.tokenizer=bert"]
    data = ["data.train=rows.jsonl", "data.validation=rows.jsonl"]
    code, _, err = llmkit("finetune", "-r", "tiny/squad", *model, *data, "train.max_steps=2", "-o", "run")
    assert code == 0, err
    assert AutoTokenizer.from_pretrained("run/model").model_input_names == ["input_ids", "attention_mask"]
    assert same_in_transformers(tmp_path / "run") <= 1e-5


def test_answers_begin_at_their_first_letter(pretrained: Path, tmp_path: Path) -> None:
    """The first token of a word in a byte-level vocabulary holds the space before it."""
    scores = finetuned(pretrained, "squad", tmp_path / "run")
    assert scores["exact_match"] == 100
    contexts = {row["id"]: row["context"] for row in questions()}
    for row in read(tmp_path / "run" / "predictions.jsonl"):
        for found in row["candidates"]:
            assert found["text"] == found["text"].strip() == contexts[row["id"]][found["start"] : found["end"]]


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
def test_every_task_and_command(task: str, pretrained: Path, llmkit: Command, tmp_path: Path) -> None:
    scores = finetuned(pretrained, task, tmp_path / "run")
    metric = settings_of("run", None, None).task.metric
    assert scores[metric] > 99, "it knows its rows by heart"
    assert same_in_transformers(tmp_path / "run") <= 1e-5
    code, out, err = llmkit("eval", "run", "--json")
    assert code == 0, err
    assert json.loads(out) == scores
    code, _, err = llmkit("predict", "run", "run.jsonl", "-o", "predictions.jsonl")
    assert code == 0, err
    texts = [row["text"] for row in read(tmp_path / "run" / "predictions.jsonl")]
    assert [row["text"] for row in read(tmp_path / "predictions.jsonl")] == texts
    code, out, err = llmkit("push", "run", "jane/modern", "--dry-run")
    assert code == 0, err
    assert "`ModernBertFor" in out
    if task.startswith("squad"):
        code, out, err = llmkit("ask", "run", "-q", "Where does it lie?", "-c", questions()[1]["context"])
        assert code == 0, err
        assert "by the sea" in out


@pytest.mark.slow
@pytest.mark.parametrize("task", ["squad", "classification", "ner"])
def test_an_export_reads_inputs_of_any_length(task: str, pretrained: Path, llmkit: Command, tmp_path: Path) -> None:
    """Shorter than the window of local attention, and longer than any input that it was exported with."""
    finetuned(pretrained, task, tmp_path / "run")
    code, out, err = llmkit("export", "run", "-o", "exported", "--json")
    assert code == 0, err
    assert json.loads(out)["models"][1]["largest_difference"] <= 1e-4
    graph, tokenizer = OnnxModel(tmp_path / "exported" / "model.onnx"), AutoTokenizer.from_pretrained("exported")
    plain = settings_of("run", None, None).task.head.auto.from_pretrained("run/model").eval()
    for texts in (["Ines", "the sea"], [" ".join(WORDS * 12), " ".join(WORDS * 5)]):
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        assert (batch["input_ids"].shape[1] > 120) == (len(texts[0]) > 4)
        with torch.inference_mode():
            expected = plain(**batch)
        for name, found in graph(**batch).items():
            real = batch["attention_mask"].bool() if found.shape[:2] == batch["input_ids"].shape else ...
            torch.testing.assert_close(found[real], expected[name][real], atol=1e-5, rtol=0)


@pytest.mark.slow
def test_words_to_tag_are_read_as_in_running_text(pretrained: Path, tmp_path: Path) -> None:
    finetuned(pretrained, "ner", tmp_path / "run")
    tag = pipeline("token-classification", model=str(tmp_path / "run" / "model"), aggregation_strategy="first")
    text = "Ines Carrow built the old lamp of Velmora"
    # transformers' places include the space before a word of a byte-level vocabulary.
    found = [(entity["entity_group"], text[entity["start"] : entity["end"]].strip()) for entity in tag(text)]
    assert found == [("PER", "Ines Carrow"), ("LOC", "Velmora")]


@pytest.mark.slow
def test_a_lengthened_run_answers_from_a_long_passage(pretrained: Path, llmkit: Command, tmp_path: Path) -> None:
    """tiny/modernbert reads 128 tokens. Continued on longer blocks, one window of it holds a passage of 2,000."""
    longer = ["model.pretrained=base", "model.max_position_embeddings=2048", "corpus.block_size=512"]
    text = " ".join([*WORDS, "."] * 400)
    (tmp_path / "long.txt").write_text(f"{text}\n\n" * 4, encoding="utf-8")
    (tmp_path / "base").symlink_to(pretrained / "runs" / "base")
    corpus = ["corpus.sources=['long.txt,documents=blank_line']", "corpus.tokenizer.path=base"]
    size = ["train.per_device_train_batch_size=2", "train.max_steps=4"]
    code, _, err = llmkit("pretrain", "-r", "modernbert-mini-long", *longer, *corpus, *size, "-o", "long")
    assert code == 0, err
    assert "lengthened from 128 to 2,048 positions; the base of the rotary ones is 160,000, was 10,000" in err
    config = AutoModelForMaskedLM.from_pretrained("long/model").config
    assert config.max_position_embeddings == 2048
    assert config.rope_parameters["full_attention"]["rope_theta"] == 160_000
    tokenizer = AutoTokenizer.from_pretrained("long/model")
    some = " ".join(WORDS[2:8])
    most = 1950 // len(tokenizer(some, add_special_tokens=False)["input_ids"])
    rows = []
    for number, name in enumerate(["Ines Carrow", "Tom Reed"] * 2):
        context = f"{' '.join([some] * (most if number > 1 else 1))} {name}."
        answers = {"text": [name], "answer_start": [context.index(name)]}
        rows.append({"id": str(number), "context": context, "question": "Who?", "answers": answers})
    assert 1900 < len(tokenizer(rows[-1]["question"], rows[-1]["context"])["input_ids"]) <= 2048
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = ["data.train=rows.jsonl", "data.validation=rows.jsonl", "data.max_length=2048", "data.doc_stride=64"]
    train = ["train.max_steps=40", "train.per_device_train_batch_size=4", "train.learning_rate=0.005"]
    code, _, err = llmkit("finetune", "-r", "tiny/squad", "model.pretrained=long", *data, *train, "-o", "run")
    assert code == 0, err
    assert "4 examples, 4 windows" in err
    (found, *_) = read(tmp_path / "run" / "predictions.jsonl")[-1:]
    assert (found["text"], found["start"]) == ("Tom Reed", rows[-1]["answers"]["answer_start"][0])


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
