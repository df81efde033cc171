"""What is learned from a teacher's attention: MiniLM's relations, within documents, from any family to any shape."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support import Command, quick_or_slow
from support.families import FAMILIES, encoder_config, write_encoder
from support.runs import PRETRAIN, weights, write_demo_text
from torch.nn.functional import kl_div
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from llmkit.models import relations as relations_room
from llmkit.models.masked_lm import packed
from llmkit.models.packed_attention import VARLEN
from llmkit.models.relations import Lessons, attending
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.system.errors import UserError

SIZE = 24
WIDE = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
NARROW = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
STILL = {"vocab_size": 40, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.2}
INPUTS = ("input_ids", "position_ids", "cu_seq_lens", "masked_positions")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def bert(shape: dict[str, int]) -> Any:
    return packed(BertForMaskedLM(BertConfig(**shape, **STILL)), SIZE)


def batch(vocabulary: int = 40) -> dict[str, torch.Tensor]:
    """Two blocks: documents of 10 and 14 tokens, and of 24."""
    return {
        "input_ids": torch.randint(5, vocabulary, (2, SIZE)),
        "position_ids": torch.stack([torch.cat([torch.arange(10), torch.arange(14)]), torch.arange(SIZE)]),
        "cu_seq_lens": torch.tensor([0, 10, 24, 48], dtype=torch.int32),
        "masked_positions": torch.tensor([1, 12, 30]),
        "labels": torch.tensor([7, 8, 9]),
    }


def taught(student: Any, teacher: Any, **options: Any) -> Any:
    Lessons(teacher, "teacher", **{"layer": None, "weight": 0.5, "bf16": False, **options}).give(student)
    return student.train()


def test_relations_are_those_of_the_paper() -> None:
    """By hand, from the projections of BERT's layers: of the student's last and the teacher's second."""
    student, teacher, given = bert(NARROW), bert(WIDE), batch()
    taught(student, teacher, layer=2, weight=1.0)
    assert student.lessons.heads == 16
    loss = student(**given).loss
    states = [
        model.base_model(
            **model.packing.inputs(model.config, *(given[name] for name in INPUTS[:3])), output_hidden_states=True
        ).hidden_states
        for model in (student, teacher)
    ]
    layers = [student.bert.encoder.layer[1].attention.self, teacher.bert.encoder.layer[1].attention.self]
    expected = torch.zeros(())
    for part in ("query", "key", "value"):
        own, theirs = (getattr(layer, part)(each[1]) for layer, each in zip(layers, states, strict=True))
        for row, begin, end in ((0, 0, 10), (0, 10, 24), (1, 0, 24)):
            for head in range(16):
                one, other = (
                    (some @ some.T / some.shape[1] ** 0.5).softmax(-1)
                    for some in (each[row, begin:end].chunk(16, dim=-1)[head] for each in (own, theirs))
                )
                expected = expected + kl_div(one.log(), other, reduction="sum") / (16 * 48)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
    loss.backward()
    assert student.bert.encoder.layer[1].attention.self.value.weight.grad.abs().max() > 0
    assert all(weight.grad is None for weight in teacher.parameters())


def test_an_equal_has_nothing_to_learn_but_words() -> None:
    student, given = bert(NARROW), batch()
    plain = student.train()(**given).loss
    whole = taught(student, bert(NARROW)).lessons
    whole.teacher.load_state_dict(student.state_dict())
    assert not any("lessons" in name for name, _ in student.named_parameters())
    torch.testing.assert_close(student(**given).loss, plain / 2)
    torch.testing.assert_close(student.eval()(**given).loss, plain, msg="evaluations are of masked words alone")


def test_a_step_is_the_same_in_pieces() -> None:
    student, given = taught(bert(NARROW), bert(WIDE)), batch()
    given["masked_positions"], given["labels"] = torch.tensor([1, 12, 30, 31]), torch.tensor([7, 8, 9, 9])
    rows = [
        {
            "input_ids": given["input_ids"][[row]],
            "position_ids": given["position_ids"][[row]],
            "cu_seq_lens": edges,
            "masked_positions": given["masked_positions"][2 * row : 2 * row + 2] - 24 * row,
            "labels": given["labels"][2 * row : 2 * row + 2],
            "num_items_in_batch": 4,
        }
        for row, edges in enumerate((torch.tensor([0, 10, 24]).int(), torch.tensor([0, 24]).int()))
    ]
    torch.testing.assert_close(sum(student(**row).loss for row in rows), student(**given).loss)


def test_a_large_batch_is_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    given, gradients = batch(), []
    for held in (relations_room.HELD, 16 * SIZE**2):  # a block at a time
        monkeypatch.setattr(relations_room, "HELD", held)
        torch.manual_seed(1)
        student = taught(bert(NARROW), bert(WIDE))
        student(**given).loss.backward()
        gradients.append({name: weight.grad for name, weight in student.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_the_kernel_of_a_gpu_is_listened_to_as_well() -> None:
    """Here a mask stands in for it."""
    given, student = batch(), taught(bert(NARROW), bert(WIDE))
    expected = student(**given).loss
    for model in (student, student.lessons.teacher):
        model.config._attn_implementation = VARLEN
    torch.testing.assert_close(student(**given).loss, expected)


READ = {"BERT", "RoBERTa", "ELECTRA", "ALBERT", "XLM-R", "CamemBERT", "ModernBERT", "mmBERT", "EuroBERT", "DistilBERT"}
PACKED = READ | {"DeBERTa", "DeBERTa v3", "MPNet"}


@pytest.mark.parametrize("family", quick_or_slow(sorted(PACKED & set(FAMILIES)), {"ModernBERT", "MPNet", "EuroBERT"}))
def test_families(family: str) -> None:
    config = encoder_config(family)
    model = packed(AutoModelForMaskedLM.from_config(config), SIZE)
    student = bert(NARROW)
    if family not in READ:
        with pytest.raises(
            UserError, match=f"the teacher teacher computes its attention by itself: .* {config.model_type}"
        ):
            taught(student, model)
        return
    vocabulary = min(config.vocab_size, 40)
    # In both roles.
    assert taught(student, model)(**batch(vocabulary)).loss.isfinite()
    assert taught(model, student)(**batch(vocabulary)).loss.isfinite()


def test_nobody_listens_afterwards() -> None:
    model = bert(NARROW)
    with attending(model) as found:
        model.masked_logits(*(batch()[name] for name in INPUTS))
    assert len(found) == 2
    model.masked_logits(*(batch()[name] for name in INPUTS))
    assert len(found) == 2


def test_a_run_learns_from_its_teacher(tmp_path: Path, llmkit: Command) -> None:
    """Its teacher is known by its weights, other layers and vocabularies are refused, and a resumed run is the same."""
    text = write_demo_text(tmp_path)
    code, _, err = llmkit("tokenize", "-c", str(text), "-o", "shards", "tokenizer.vocab_size=400")
    assert code == 0, err
    steps = ["corpus.path=shards", "train.max_steps=4", "train.eval_steps=2", "train.learning_rate=1e-3"]
    wide = "model.config={hidden_size: 48, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 64}"
    code, _, err = llmkit("pretrain", *PRETRAIN, wide, *steps, "-o", "teacher")
    assert code == 0, err
    student = ["pretrain", *PRETRAIN, *steps, "model.teacher=teacher", "-o", "run"]
    code, _, err = llmkit(*student)
    assert code == 0, err
    assert "teacher: teacher; layer 1 learns 16 relations from its layer 2, a share of 0.5 of the loss" in err
    told = json.loads(Path("run/env.json").read_text())["data"]["teacher"]
    assert f"`{told}`" in Path("run/model/README.md").read_text()
    assert {"loss", "perplexity"} <= json.loads(Path("run/metrics.json").read_text()).keys()
    whole = weights(tmp_path / "run")
    for part in ("model", "checkpoints/checkpoint-4"):
        shutil.rmtree(tmp_path / "run" / part)
    (tmp_path / "run" / "metrics.json").unlink()
    code, _, err = llmkit(*student, "--resume")
    assert code == 0, err
    assert weights(tmp_path / "run") == whole
    code, _, err = llmkit(*student[:-1], "deep", "model.teacher_layer=3")
    assert code == 1
    assert "model.teacher_layer 3: the teacher teacher has 2 layers" in err
    write_encoder("RoBERTa", tmp_path / "roberta")
    code, _, err = llmkit(*student[:-1], "other", "model.teacher=roberta")
    assert code == 1
    assert "the text was tokenized with another vocabulary than that of roberta" in err


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model.teacher_layer=2"], "teacher_layer has no effect without teacher"),
        (["model.teacher_weight=0.2"], "teacher_weight has no effect without teacher"),
        (["model.teacher=x", "train.torch_compile=true"], "train.torch_compile does not go with model.teacher"),
        (["model.teacher=x", "train.activation_checkpointing=true"], "train.activation_checkpointing does not go with"),
    ],
)
def test_what_a_recipe_may_say(overrides: list[str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        read_recipe(PretrainRecipe, "bert-mini", overrides)
    assert told in " ".join(caught.value.problems)
