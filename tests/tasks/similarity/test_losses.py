"""The losses are sentence-transformers' own, also where the library computes vectors itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from support.tasks import letters
from transformers import BertConfig, BertModel

from llmkit.models.by_length import by_length
from llmkit.tasks.head import training_collator
from llmkit.tasks.similarity.datasets import SIMILARITIES
from llmkit.tasks.similarity.head import VectorLoss
from llmkit.tasks.similarity.sections import SimilarityData
from llmkit.tasks.values import Codec
from llmkit.training.apart import kept_apart

library = pytest.importorskip("sentence_transformers")  # the extra `embed`
TASK = SIMILARITIES[0]
ROWS = [(f"where is {n}?", f"it is far away, behind the {word} hill", "it rains") for n, word in enumerate("abcd")]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    dropouts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.5}
    tokenizer = letters()
    BertModel(BertConfig(vocab_size=len(tokenizer), **shape, **dropouts)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def examples(form: str) -> Dataset:
    rows = [
        {
            "id": str(n),
            "text": text,
            "pair": pair,
            "negative": negative if form == "triplets" else None,
            "label": str(n / 4) if form == "scored" else None,
            "role": "pair",
            "relevant": [],
        }
        for n, (text, pair, negative) in enumerate(ROWS)
    ]
    return Dataset.from_list(rows, features=TASK.schema())


@pytest.mark.parametrize("form", ["scored", "pairs", "triplets"])
@pytest.mark.parametrize("dims", [None, (16, 4)])
def test_the_loss_and_its_gradients_are_the_librarys(encoder: Path, form: str, dims: Any) -> None:
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.losses import (
        CoSENTLoss,
        MatryoshkaLoss,
        MultipleNegativesRankingLoss,
    )
    from sentence_transformers.sentence_transformer.modules import Pooling

    data = SimilarityData(path="x", max_length=64)
    codec = Codec(letters())
    model: Any = BertModel.from_pretrained(encoder).train()
    by_length(model)
    features = TASK.encode(examples(form), codec, data, training=True)
    batch = training_collator(TASK.head, codec, model)(list(features))
    labels = batch.pop("labels")
    loss = VectorLoss(scored=form == "scored", pooling="mean", dims=dims)
    ours = loss(model(**batch), labels=labels, attention_mask=batch["attention_mask"])
    ours.backward()

    modules = [Transformer(str(encoder)), Pooling(16, pooling_mode="mean")]
    reference = library.SentenceTransformer(modules=modules, device="cpu").train()
    of_library: Any = (CoSENTLoss if form == "scored" else MultipleNegativesRankingLoss)(reference)
    if dims is not None:
        of_library = MatryoshkaLoss(reference, of_library, list(dims))
    columns = list(zip(*ROWS, strict=True))[: 3 if form == "triplets" else 2]
    inputs = [reference.tokenize(list(column)) for column in columns]
    theirs = of_library(inputs, torch.tensor([n / 4 for n in range(4)]))
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    gradients = dict(reference[0].auto_model.named_parameters())
    for name, parameter in model.named_parameters():
        if "pooler" not in name:
            assert parameter.grad == pytest.approx(gradients[name].grad, rel=1e-4, abs=1e-4), name


def test_micro_batches_count_by_their_pairs(encoder: Path) -> None:
    vectors = torch.nn.functional.normalize(torch.randn(6, 1, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    mask = torch.ones(6, 1, dtype=torch.long)
    loss = VectorLoss(scored=False, pooling="mean", dims=None)
    found = loss({"last_hidden_state": vectors}, labels=torch.zeros(3), attention_mask=mask)
    part = loss({"last_hidden_state": vectors}, labels=torch.zeros(3), attention_mask=mask, num_items_in_batch=12)
    assert part.item() == pytest.approx(found.item() * 3 / 12)


def test_rows_of_like_length_go_through_the_encoder_together(encoder: Path) -> None:
    model: Any = BertModel.from_pretrained(encoder)
    lengths = torch.tensor([3, 30, 5, 28] * 5)
    mask = (torch.arange(30)[None, :] < lengths[:, None]).long()
    ids = torch.randint(5, 50, mask.shape, generator=torch.Generator().manual_seed(1)) * mask
    expected = model.train()(input_ids=ids, attention_mask=mask)[0] * mask[:, :, None]
    by_length(model)
    shapes: list[Any] = []
    model.embeddings.register_forward_hook(lambda *given: shapes.append(tuple(given[2].shape[:2])))
    found = model(input_ids=ids, attention_mask=mask)[0]
    assert (found * mask[:, :, None] - expected).abs().max() < 1e-5
    assert shapes == [(10, 30), (10, 5)]
    assert type(model).__name__ == "BertModel"
    model.eval()
    assert model(input_ids=ids, attention_mask=mask).pooler_output is not None, "only training is another"


def test_no_text_occurs_twice_in_a_step() -> None:
    random = np.random.default_rng(1)
    keys = np.stack([np.arange(200), 200 + random.integers(50, size=200), np.full(200, -1)], axis=1)
    order = random.permutation(200)
    found = kept_apart(order, keys, 8)
    assert sorted(found) == list(range(200))
    assert (kept_apart(order, keys, 8) == found).all()
    steps = [keys[found[start : start + 8], 1].tolist() for start in range(0, 200, 8)]
    twice = [len(set(step)) < len(step) for step in steps]
    assert not any(twice[:-2])
    before = [keys[order[start : start + 8], 1].tolist() for start in range(0, 200, 8)]
    assert sum(len(set(step)) < len(step) for step in before) > 5, "and without it, it does"
    same = kept_apart(np.arange(20), np.zeros((20, 1), int), 8)
    assert sorted(same) == list(range(20)), "where it cannot be helped, all are there"


def test_triplets_and_pairs_are_kept_apart_and_scored_ones_are_not() -> None:
    assert TASK.apart(examples("scored")) is None
    keys = TASK.apart(examples("triplets"))
    assert keys is not None
    assert len(set(keys[:, 2].tolist())) == 1, "all have one negative"
    pairs = TASK.apart(examples("pairs"))
    assert pairs is not None
    assert set(pairs[:, 2].tolist()) == {-1}
