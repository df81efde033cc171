"""Attributions and deletion, on models of which the truth is known by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.labels import PIECES
from torch import Tensor, nn
from transformers import BertTokenizer, PretrainedConfig, PreTrainedModel

from llmkit.evidence import deletion as deletion_file
from llmkit.evidence.attribution import integrated_gradients, occlusion
from llmkit.evidence.deletion import WORDS, deletion
from llmkit.evidence.explanation import GRADIENTS, OCCLUSION, explain
from llmkit.evidence.probe import Probe
from llmkit.evidence.units import Unit, units_of
from llmkit.system.errors import UserError
from llmkit.tasks.explained import Explained, Place
from llmkit.tasks.label.head import HEAD

pytestmark = pytest.mark.oldest
TEXT = "calm sea, storm a b"  # letters of which the vocabulary makes one token each
VALUES = {"calm": 3.0, "sea": 1.0, "storm": -2.0, "a": 0.5, "[MASK]": -0.25}


class Bag(PreTrainedModel):
    """Adds up a value of each token, and squares the sum if it is `squared`."""

    config_class = PretrainedConfig

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(len(PIECES), 2)
        self.squared = False
        with torch.no_grad():
            self.words.weight.zero_()
            for piece, value in VALUES.items():
                self.words.weight[PIECES.index(piece)] = torch.tensor([value, 7.0])

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> dict[str, Tensor]:
        total = (self.words(input_ids)[..., 0] * attention_mask).sum(dim=1, keepdim=True)
        return {"logits": total**2 if self.squared else total}


def material(own: Place | None = None, *, squared: bool = False) -> tuple[Probe, list[Unit], Explained]:
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)})
    model = Bag(PretrainedConfig()).eval()
    model.squared = squared
    encoding = tokenizer.backend_tokenizer.encode(TEXT)
    places = [
        (-1 if special else 0, *offsets)
        for special, offsets in zip(encoding.special_tokens_mask, encoding.offsets, strict=True)
    ]
    feature = {"input_ids": encoding.ids, "length": len(encoding)}
    explained = Explained(
        feature, lambda out: out["logits"][:, 0], "the sum", "x", (("text", TEXT),), np.array(places), own
    )
    return Probe(model, HEAD, explained, tokenizer), units_of(explained), explained


def by_hand(units: list[Unit]) -> list[float]:
    return [VALUES.get(TEXT[unit.start : unit.end], 0.0) - VALUES["[MASK]"] for unit in units]


def test_both_methods_find_the_weights_of_a_sum() -> None:
    probe, units, _ = material()
    gradients = integrated_gradients(probe, units)
    np.testing.assert_allclose(gradients.weights, by_hand(units), atol=1e-5)
    assert gradients.error < 1e-6
    assert gradients.converged
    np.testing.assert_allclose(occlusion(probe, units), by_hand(units), atol=1e-5)


def test_gradients_add_up_and_occlusion_masks_one_word_at_a_time() -> None:
    probe, units, _ = material(squared=True)
    gradients = integrated_gradients(probe, units)
    whole, masked = probe.values([probe.ids, probe.masked])
    assert gradients.weights.sum() == pytest.approx(whole - masked, rel=1e-4)
    alone = probe.values([probe.without(unit.tokens) for unit in units])
    np.testing.assert_allclose(occlusion(probe, units), whole - alone, atol=1e-4)
    assert not np.allclose(gradients.weights, whole - alone, atol=0.1), "the methods differ here"


def test_more_steps_where_few_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that jumps somewhere on the way cannot be integrated well."""
    probe, units, _ = material()

    def jumping(out: dict[str, Tensor]) -> Tensor:
        return 4 * torch.sigmoid(200 * (out["logits"][:, 0] - 1.0))

    probe._number = jumping
    gradients = integrated_gradients(probe, units)
    assert gradients.steps > 32
    monkeypatch.setattr("llmkit.evidence.attribution.STEPS", (2,))
    too_few = integrated_gradients(probe, units)
    assert not too_few.converged
    assert too_few.error == pytest.approx(1.0), "all of it is missing: no step saw the jump"


def test_deletion_removes_the_first_words_first() -> None:
    probe, units, _ = material()
    weights = np.array(by_hand(units))
    found = deletion(probe, units, {"truth": weights, "upside down": -weights})
    falls = np.concatenate([[0.0], np.cumsum(np.sort(weights)[::-1])])
    expected = falls[np.minimum(np.arange(WORDS + 1), len(weights))]
    np.testing.assert_allclose(found.curves["truth"], found.curves["truth"][0] - expected, atol=1e-5)
    assert found.area("truth") == pytest.approx(expected[1:].mean(), abs=1e-5)
    low, high = found.random_interval
    assert found.area("upside down") < low < found.random_areas.mean() < high < found.area("truth")
    assert found.random.shape == (deletion_file.ORDERS, WORDS + 1)
    np.testing.assert_allclose(found.random[:, -1], found.curves["truth"][-1], atol=1e-5)


def test_deletion_is_the_same_each_time_and_random_orders_differ() -> None:
    probe, units, _ = material()
    first, again, other = (deletion(probe, units, {}, seed=seed).random for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first.round(4), axis=0)) > 10


def test_the_answer_itself_stays() -> None:
    probe, units, _ = material(own=Place(0, 0, 4))
    assert [unit.own for unit in units] == [True, False, False, False, False, False]
    weights = np.array(by_hand(units))
    found = deletion(probe, units, {"truth": weights})
    assert found.curves["truth"][0] - found.curves["truth"][-1] == pytest.approx(weights[1:].sum(), abs=1e-5)


def test_a_text_of_nothing_but_the_answer_has_no_curve() -> None:
    probe, units, _ = material(own=Place(0, 0, len(TEXT)))
    found = deletion(probe, units, {"any": np.ones(len(units))})
    assert found.area("any") == 0.0
    assert found.random_interval == [0.0, 0.0]


def test_the_explanation_as_a_whole() -> None:
    probe, units, explained = material()
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)})
    found = explain(probe.model, HEAD, explained, tokenizer)
    row = found.as_row()
    assert [word["word"] for word in row["words"]] == ["calm", "sea", ",", "storm", "a", "b"]
    assert [TEXT[word["start"] : word["end"]] for word in row["words"]] == [word["word"] for word in row["words"]]
    np.testing.assert_allclose([word[GRADIENTS] for word in row["words"]], by_hand(units), atol=1e-5)
    assert (row["top_words"], row["top_words_shared"]) == (5, 5)
    assert row["rank_correlation"] > 0.9, "of equal weights, rounding decides"
    assert row["mask"] == "[MASK]"
    assert row["deletion"][OCCLUSION]["area"] > row["deletion"]["random"]["area_interval"][1]
    assert row == explain(probe.model, HEAD, explained, tokenizer).as_row(), "the same numbers each time"


def test_a_tokenizer_without_a_mask_leaves_words_unknown() -> None:
    probe, _, explained = material()
    pieces = {piece: number for number, piece in enumerate(PIECES)}
    unknown = BertTokenizer(vocab=pieces, mask_token=None)
    if unknown.mask_token_id is None:
        assert Probe(probe.model, HEAD, explained, unknown).mask == PIECES.index("[UNK]")
    unknown.mask_token = unknown.unk_token = None
    with pytest.raises(UserError, match="no mask token"):
        Probe(probe.model, HEAD, explained, unknown)
