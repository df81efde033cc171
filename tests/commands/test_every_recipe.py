"""Every recipe that comes along: resolved, its model built, two steps trained, evaluated; on a model of a few
thousand weights, and three rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import Command
from support.tasks import fixture, letters
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from llmkit.models.checkpoint import fresh_config
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import dump, kind_of, read_recipe
from llmkit.recipes.shapes import ModernBertShape
from llmkit.recipes.shipped import shipped_recipes
from llmkit.tasks import TASKS
from llmkit.tasks.span.task import ExtractiveQA
from llmkit.tasks.text.task import Seq2Seq

pytestmark = pytest.mark.oldest
SHAPE: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
WRITING = ["data.max_target_length=16", "generation.num_beams=1", "generation.length_penalty=1.0"]
# One of a kind, which is always trained; the others are in `make test-all`.
TRAINED = ["bert-mini", "squad-v2-bert-base", "glue-bert-base", "ner-bert-base", "summarization-bert2bert", "scan"]
STEPS = ["train.max_steps=2", "train.per_device_train_batch_size=2", "train.gradient_accumulation_steps=1"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = letters()
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **SHAPE)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    modern = ModernBertShape(model_type="modernbert", max_position_embeddings=64, **SHAPE)
    AutoModelForMaskedLM.from_config(fresh_config(modern, tokenizer)).save_pretrained(folder / "modernbert")
    return folder


def overrides(recipe: Any, encoder: Path) -> list[str]:
    """What makes a recipe small, and takes the place of what it would download."""
    shape = [f"model.config.{name}={value}" for name, value in SHAPE.items()]
    if isinstance(recipe, PretrainRecipe):
        start = encoder if recipe.model.max_position_embeddings is None else encoder / "modernbert"
        model = shape if recipe.model.config is not None else [f"model.pretrained={start}"]
        model += [f"model.teacher={encoder}"] if recipe.model.teacher is not None else []
        text = ["corpus.sources=['words.txt,documents=blank_line']", f"corpus.tokenizer={{path: {encoder}}}"]
        return [*STEPS, *model, *text, "corpus.block_size=32"]
    task = TASKS[recipe.task]
    text = isinstance(task, Seq2Seq)
    if recipe.model.config is None:
        model = [f"model.pretrained={encoder}"]
    elif text:
        model = [*shape, "model.vocab_size=300"]
    else:
        model = [*shape, f"model.tokenizer={encoder}"]
    if getattr(recipe.model, "decoder_vocab_size", None) is not None:
        model += ["model.decoder_vocab_size=300"]
    files = [f"data.{split}={fixture(task.name)}" for split in ("train", "validation")]
    windows = ["data.doc_stride=16"] * isinstance(task, ExtractiveQA)
    return [*STEPS, *model, *files, "data.max_length=64", *windows, *WRITING * text]


def kind_and_recipe(name: str) -> tuple[Any, Any]:
    kind = kind_of(shipped_recipes()[name])
    return kind, read_recipe(kind, name, tasks=TASKS)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_recipe_is_what_it_was_resolved_to(name: str, tmp_path: Path) -> None:
    kind, recipe = kind_and_recipe(name)
    (tmp_path / "resolved.yaml").write_text(dump(recipe))
    assert read_recipe(kind, str(tmp_path / "resolved.yaml"), tasks=TASKS) == recipe


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in TRAINED)) for name in shipped_recipes()]
)
def test_a_recipe_trains(name: str, encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    kind, recipe = kind_and_recipe(name)
    documents = [f"the old ship {n} sails to the town with salt and tea, and it rains on day {n}." for n in range(60)]
    (tmp_path / "words.txt").write_text("\n\n".join(documents))
    command = "pretrain" if kind is PretrainRecipe else "finetune"
    more = []
    if command == "finetune" and recipe.model.teacher is not None:
        code, _, err = llmkit(command, "-r", name, *overrides(recipe, encoder), "model.teacher=null", "-o", "teacher")
        assert code == 0, err
        more = ["model.teacher=teacher"]
    code, _, err = llmkit(command, "-r", name, *overrides(recipe, encoder), *more, "-o", "run")
    assert code == 0, err
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    if command == "pretrain":
        assert scores["perplexity"] > 1
        return
    assert TASKS[recipe.task].metric in scores
    code, out, err = llmkit("eval", "run", "--json")
    assert code == 0, err
    assert json.loads(out) == scores
