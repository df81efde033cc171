"""The masked-LM head, the isolation of packed documents, and which checkpoints are accepted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForMaskedLM, BertConfig, BertTokenizer

from llmkit.models import packed_attention
from llmkit.models.checkpoint import Checkpoint
from llmkit.models.masked_lm import model_for_pretraining, packed
from llmkit.models.packed_attention import VARLEN, block_diagonal
from llmkit.models.packing_trial import choose_attention
from llmkit.recipes.finetuning import FinetuneModelSection
from llmkit.recipes.pretraining import ModelSection, TrainSection
from llmkit.recipes.shapes import BertShape
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.span.sections import SpanData, SpanRecipe
from llmkit.tasks.values import Codec
from llmkit.training.arguments import CHECKPOINTING

pytestmark = pytest.mark.oldest

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
INPUTS = ("input_ids", "position_ids", "cu_seq_lens")
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def tokenizer(size: int = len(VOCABULARY)) -> BertTokenizer:
    return BertTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY[:size])})


def config(**changes: Any) -> BertConfig:
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=64, **{**SHAPE, **no_dropout, **changes})


def blocks(generator: torch.Generator | None = None) -> dict[str, torch.Tensor]:
    """Two blocks of 24: documents of 10, 8 and 6 tokens, and of 24."""
    input_ids = torch.randint(5, len(VOCABULARY), (2, 24), generator=generator)
    positions = torch.stack([torch.cat([torch.arange(10), torch.arange(8), torch.arange(6)]), torch.arange(24)])
    masked = torch.tensor([1, 4, 12, 20, 24 + 3, 24 + 17])
    return {
        "input_ids": input_ids,
        "cu_seq_lens": torch.tensor([0, 10, 18, 24, 48], dtype=torch.int32),
        "position_ids": positions,
        "masked_positions": masked,
        "labels": torch.randint(5, len(VOCABULARY), (6,), generator=generator),
    }


def bert(**changes: Any) -> Any:
    return packed(transformers.BertForMaskedLM(config(**changes)), 24)


def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of all tokens of a batch, [B, L, V]."""
    everything = torch.arange(batch["input_ids"].numel())
    with torch.no_grad():
        found = model.masked_logits(**{name: batch[name] for name in INPUTS}, masked_positions=everything)
    return found.view(*batch["input_ids"].shape, -1)


def test_the_head_gives_the_loss_and_gradients_of_the_library() -> None:
    torch.manual_seed(0)
    ours = bert()
    theirs = transformers.BertForMaskedLM(config())
    theirs.load_state_dict(ours.state_dict())
    batch = blocks()
    labels = torch.full((2 * 24,), -100)
    labels[batch["masked_positions"]] = batch["labels"]
    mask = block_diagonal(2, 24, batch["cu_seq_lens"])
    expected = theirs(
        batch["input_ids"], attention_mask=mask, position_ids=batch["position_ids"], labels=labels.view(2, 24)
    ).loss
    loss = ours(**batch).loss
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    loss.backward()
    expected.backward()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert mine.grad is not None, name
        assert other.grad is not None, name
        assert torch.allclose(mine.grad, other.grad, atol=1e-6), name


def test_the_loss_is_normalised_by_the_global_number_of_targets() -> None:
    torch.manual_seed(0)
    model = bert()
    whole = blocks()
    whole["labels"] = whole["labels"][:6]
    together = model(**whole).loss
    # The same two blocks, one micro-batch each, with 4 and 2 targets.
    parts = []
    for block, chosen in ((0, slice(0, 4)), (1, slice(4, 6))):
        part = {name: whole[name][block : block + 1] for name in ("input_ids", "position_ids")}
        part["cu_seq_lens"] = torch.tensor([[0, 10, 18, 24], [0, 24]][block], dtype=torch.int32)
        part["masked_positions"] = whole["masked_positions"][chosen] - 24 * block
        part["labels"] = whole["labels"][chosen]
        parts.append(model(**part, num_items_in_batch=6).loss)
    assert sum(parts).item() == pytest.approx(together.item(), abs=1e-5)


def gradients(model: Any, batch: dict[str, torch.Tensor]) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    torch.manual_seed(1)  # of the dropout
    loss = model(**batch).loss
    loss.backward()
    return loss.item(), [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def test_what_only_fills_a_batch_changes_nothing() -> None:
    torch.manual_seed(0)
    model = bert()
    batch = blocks()
    filled = {
        **batch,
        "cu_seq_lens": torch.cat([batch["cu_seq_lens"], batch["cu_seq_lens"][-1:].expand(7)]),
        "masked_positions": torch.cat([batch["masked_positions"], torch.zeros(10, dtype=torch.int64)]),
        "labels": torch.cat([batch["labels"], torch.full((10,), -100)]),
    }
    loss, expected = gradients(model, batch)
    other, found = gradients(model, filled)
    assert other == pytest.approx(loss, abs=1e-6)
    for one, two in zip(found, expected, strict=True):
        assert torch.allclose(one, two, atol=1e-7)


def test_activations_that_are_computed_again_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    model = bert(hidden_dropout_prob=0.3).train()
    loss, expected = gradients(model, blocks(torch.Generator().manual_seed(2)))
    getattr(model, f"{CHECKPOINTING}_enable")()
    assert model.bert.encoder.layer[0].gradient_checkpointing
    other, found = gradients(model, blocks(torch.Generator().manual_seed(2)))
    assert other == loss
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def test_a_document_does_not_see_its_neighbours() -> None:
    torch.manual_seed(0)
    model = bert().eval()
    batch = blocks()
    changed = {**batch, "input_ids": batch["input_ids"].clone()}
    changed["input_ids"][0, 10:18] = (changed["input_ids"][0, 10:18] - 5 + 7) % 26 + 5
    moved = (logits(model, batch) - logits(model, changed)).abs().amax(dim=-1)[0]
    assert moved[10:18].min() > 1e-4
    assert torch.cat([moved[:10], moved[18:]]).max() <= 1e-6
    with torch.no_grad():
        leaking = (model.plain(batch["input_ids"]).logits - model.plain(changed["input_ids"]).logits).abs()[0, :10]
    assert leaking.max() > 1e-5, "without the mask it would"


def test_the_kernel_of_gpus_is_given_the_same_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel itself needs a GPU; this does what it does, a document at a time.
    def varlen(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        cu_seq_q: torch.Tensor,
        cu_seq_k: torch.Tensor,
        max_q: int,
        max_k: int,
        scale: float,
        window_size: tuple[int, int],
    ) -> torch.Tensor:
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
        assert window_size == (-1, -1), "all of a document"
        assert int(cu_seq_q.diff().max()) <= max_q == max_k
        parts = []
        for start, stop in pairwise(cu_seq_q.tolist()):
            q, k, v = (states[start:stop].transpose(0, 1) for states in (query, key, value))
            parts.append(torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scale).transpose(0, 1))
        return torch.cat(parts)

    monkeypatch.setattr(packed_attention, "varlen_attn", varlen)
    by_mask = packed_attention._by_mask
    monkeypatch.setattr(packed_attention, "_by_mask", packed_attention._by_kernel)
    torch.manual_seed(0)
    model = bert().eval()
    batch = blocks()
    masked = model(**batch).loss
    assert model.config._attn_implementation == "sdpa"
    choose_attention(model, bf16=True)
    assert model.config._attn_implementation == "sdpa", "there is no GPU"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    choose_attention(model, bf16=True)
    assert model.config._attn_implementation == VARLEN
    assert model(**batch).loss.item() == pytest.approx(masked.item(), abs=1e-6)
    monkeypatch.setattr(packed_attention, "_by_mask", by_mask)
    assert model(**batch).loss.item() == pytest.approx(masked.item(), abs=1e-6), "on a CPU"


def test_a_packed_document_is_read_as_if_it_were_alone() -> None:
    torch.manual_seed(0)
    model = bert().eval()
    batch = blocks()
    with torch.no_grad():
        alone = model.plain(batch["input_ids"][:1, 10:18]).logits
    assert torch.allclose(logits(model, batch)[0, 10:18], alone[0], atol=1e-5)


def test_a_checkpoint_is_a_plain_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = bert().eval()
    model.save_pretrained(tmp_path)
    plain, info = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(plain) is transformers.BertForMaskedLM
    assert plain.config.architectures == ["BertForMaskedLM"]
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    batch = blocks()
    with torch.no_grad():
        expected = plain.eval()(batch["input_ids"][1:]).logits
    assert torch.allclose(logits(model, batch)[1:], expected, atol=1e-5)


def answering(section: FinetuneModelSection, max_length: int) -> Any:
    """The model that fine-tuning the checkpoint on SQuAD starts from."""
    data = SpanData(path="demo", max_length=max_length, doc_stride=16)
    recipe = SpanRecipe(name="x", task="squad", model=section, data=data, train=TrainSection(max_steps=1))
    checkpoint = Checkpoint.named(str(section.pretrained))
    return TASKS["squad"].model_to_train(recipe, checkpoint, Codec(tokenizer()))


def test_models_come_from_a_shape_or_a_checkpoint(tmp_path: Path) -> None:
    fresh = model_for_pretraining(ModelSection(config=BertShape(**SHAPE)), tokenizer(), 32)
    assert fresh.config.vocab_size == len(VOCABULARY)
    fresh.save_pretrained(tmp_path)
    again = model_for_pretraining(ModelSection(pretrained=str(tmp_path)), tokenizer(), 32)
    assert torch.equal(again.bert.embeddings.word_embeddings.weight, fresh.bert.embeddings.word_embeddings.weight)
    assert again.bert.encoder.layer[0].attention.self.dropout.p == 0.0, "it keeps attention off its fast kernels"
    section = ModelSection(pretrained=str(tmp_path), attention_probs_dropout_prob=0.3)
    assert model_for_pretraining(section, tokenizer(), 32).bert.encoder.layer[0].attention.self.dropout.p == 0.3
    answerer = answering(FinetuneModelSection(pretrained=str(tmp_path)), 64)
    assert type(answerer).__name__ == "BertForQuestionAnswering"
    assert fresh.config.attention_probs_dropout_prob == 0.1
    assert answerer.bert.encoder.layer[0].attention.self.dropout.p == 0.0, "it keeps attention off its fast kernels"
    finetuning = FinetuneModelSection(pretrained=str(tmp_path), attention_probs_dropout_prob=0.2)
    assert answering(finetuning, 64).bert.encoder.layer[0].attention.self.dropout.p == 0.2
    answerer.save_pretrained(tmp_path / "answerer")
    tokenizer().save_pretrained(tmp_path / "answerer")
    TASKS["squad"].load_trained(Checkpoint.named(str(tmp_path / "answerer")), SpanData(path="x"))


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    small = bert()
    small.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    pretrained = ModelSection(pretrained=str(tmp_path))
    with pytest.raises(UserError, match="exceeds the 64 positions"):
        model_for_pretraining(pretrained, tokenizer(), 128)
    with pytest.raises(UserError, match="exceeds the 64 positions"):
        answering(FinetuneModelSection(pretrained=str(tmp_path)), 128)
    with pytest.raises(UserError, match="no question-answering head"):
        TASKS["squad"].load_trained(Checkpoint.named(str(tmp_path)), SpanData(path="x"))
    bigger = BertTokenizer(vocab={f"t{n}" if n > 4 else VOCABULARY[n]: n for n in range(60)})
    with pytest.raises(UserError, match="the tokenizer has 60 tokens"):
        model_for_pretraining(pretrained, bigger, 32)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match="cannot be loaded"):
        model_for_pretraining(pretrained, tokenizer(), 32)
