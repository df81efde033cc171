"""Every family on packed blocks: what its plain model gives for each document alone, or a refusal."""

from __future__ import annotations

import json
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from support import quick_or_slow
from support.families import FAMILIES, encoder_config, write_encoder
from support.tokenizer_families import tokenizer_of
from transformers import AutoModelForMaskedLM, BartConfig, BertForMaskedLM, ElectraForPreTraining
from transformers import logging as transformers_logging
from transformers.modeling_outputs import MaskedLMOutput

from llmkit.corpus.masking import Vocabulary
from llmkit.corpus.tokenizer import check_for_pretraining, load_tokenizer
from llmkit.models import packing_trial
from llmkit.models.masked_lm import model_for_pretraining, packed
from llmkit.models.packed_attention import VARLEN
from llmkit.models.packing import Packing
from llmkit.models.packing_trial import choose_attention
from llmkit.recipes.pretraining import ModelSection
from llmkit.system.errors import UserError
from llmkit.training.arguments import CHECKPOINTING

pytestmark = pytest.mark.oldest

LENGTH = 24
DOCUMENTS = (10, 8, 6, 24)  # of two blocks; the last is longer than ModernBERT's local attention
REFUSED = {"DeBERTa v2", "BigBird", "Longformer", "Funnel"}  # a convolution, pooling, and attention of their own
PACKED = [family for family in FAMILIES if family not in REFUSED]
OWN_ATTENTION = {"DeBERTa", "DeBERTa v3", "MPNet"}
QUICK = {"BERT", "RoBERTa", "DistilBERT", "ALBERT", "DeBERTa v3", "MPNet", "ModernBERT"}
families = pytest.mark.parametrize("family", quick_or_slow(PACKED, QUICK))


def plain(family: str, **changes: Any) -> Any:
    """A family's masked-LM model of random weights, without dropout."""
    torch.manual_seed(0)
    dropouts = {
        name: 0.0 for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")
    }
    model = AutoModelForMaskedLM.from_config(encoder_config(family, **dropouts, **changes))
    for name, parameter in model.named_parameters():
        if "bias" in name:  # biases of 0 would hide where they belong
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def batch_of(vocabulary: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    starts = torch.tensor([0, *DOCUMENTS]).cumsum(0).to(torch.int32)
    chosen = torch.tensor([1, 4, 9, 10, 12, 17, 18, 23, 24, 24 + 3, 24 + 17])
    return {
        "input_ids": torch.randint(8, vocabulary, (2, LENGTH), generator=generator),
        "position_ids": torch.cat([torch.arange(length) for length in DOCUMENTS]).view(2, LENGTH),
        "cu_seq_lens": starts,
        "masked_positions": chosen,
        "labels": torch.randint(8, vocabulary, chosen.shape, generator=generator),
    }


def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of the masked tokens, [T, V]."""
    with torch.no_grad():
        found: torch.Tensor = model.masked_logits(**{name: batch[name] for name in batch if name != "labels"})
    return found


def gradients(model: Any, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@families
def test_a_packed_document_is_read_as_by_transformers_alone(family: str, tmp_path: Path) -> None:
    model = packed(plain(family), LENGTH)
    model.save_pretrained(tmp_path)
    theirs, info = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]
    assert type(theirs) is type(plain(family))
    assert theirs.config.architectures == [type(theirs).__name__]
    batch = batch_of(model.config.vocab_size)
    with torch.no_grad():
        documents = batch["input_ids"].flatten().split(list(DOCUMENTS))
        expected = torch.cat([theirs.eval()(document[None]).logits[0] for document in documents])
    assert (logits(model, batch) - expected[batch["masked_positions"]]).abs().max() <= 1e-5


@families
def test_documents_do_not_see_each_other(family: str) -> None:
    model = packed(plain(family), LENGTH)
    batch = batch_of(model.config.vocab_size)
    changed = batch["input_ids"].clone()
    changed[0, 10:18] = changed[0, 10:18].flip(0)
    moved = (logits(model, batch) - logits(model, {**batch, "input_ids": changed})).abs().amax(dim=-1)
    own = (batch["masked_positions"] >= 10) & (batch["masked_positions"] < 18)
    assert moved[~own].max() <= 1e-6
    assert moved[own].min() > 1e-4


@families
def test_loss_and_gradients(family: str) -> None:
    """Those of the family's own pass with the head on all tokens; and every weight has one, as processes need it."""
    model = packed(plain(family), LENGTH)
    batch = batch_of(model.config.vocab_size)
    loss, found = gradients(model, batch)
    assert found.keys() == dict(model.named_parameters()).keys()
    model.packing = type(model.packing)(model.packing.mask, model.packing.first_position, head_on_chosen=False)
    other, expected = gradients(model, batch)
    assert loss == pytest.approx(other, abs=1e-5)
    for name, gradient in found.items():
        assert torch.allclose(gradient, expected[name], atol=1e-5), name


@pytest.mark.parametrize("family", quick_or_slow((f for f in PACKED if f not in ("ALBERT", "MPNet")), QUICK))
def test_activations_that_are_computed_again(family: str) -> None:
    model = packed(plain(family), LENGTH).train()
    batch = batch_of(model.config.vocab_size)
    loss, expected = gradients(model, batch)
    getattr(model, f"{CHECKPOINTING}_enable")()
    other, found = gradients(model, batch)
    assert other == loss
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())


@families
def test_the_kernel_of_gpus(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU a mask takes its place, with the window that the layers ask for."""
    model = packed(plain(family), LENGTH)
    batch = batch_of(model.config.vocab_size)
    expected, attention = logits(model, batch), model.config._attn_implementation
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    choose_attention(model, bf16=True)
    assert model.config._attn_implementation == (attention if family in OWN_ATTENTION else VARLEN)
    assert torch.allclose(logits(model, batch), expected, atol=1e-5)


@pytest.mark.slow
@families
def test_compiled(family: str) -> None:
    """Hooks and all make one graph, which a second batch of these sizes takes too."""
    model = packed(plain(family), LENGTH).train()
    batch = batch_of(model.config.vocab_size)
    loss, expected = gradients(model, batch)
    model.zero_grad()
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    found = compiled(**batch).loss
    found.backward()
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled(**batch)
    assert found.item() == pytest.approx(loss, abs=1e-5)
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, expected[name], atol=1e-5), name


def test_a_discriminator_gets_a_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Checkpoints of ELECTRA that people have are discriminators. The encoder is theirs, the head is new."""
    torch.manual_seed(0)
    discriminator = ElectraForPreTraining(encoder_config("ELECTRA"))
    discriminator.save_pretrained(tmp_path)
    tokenizer = tokenizer_of("bert-uncased")
    model = model_for_pretraining(ModelSection(pretrained=str(tmp_path)), tokenizer, 64)
    said = capsys.readouterr().err
    assert "has no masked-LM head: generator_lm_head, generator_predictions start from random weights" in said
    theirs = discriminator.electra.state_dict()
    assert all(torch.equal(theirs[name], weight) for name, weight in model.electra.state_dict().items())


@pytest.mark.parametrize("family", ["DeBERTa", "DeBERTa v3"])
def test_the_head_of_deberta_as_it_was_published(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Published configurations do not name it, and transformers then makes another head."""
    published = plain(family, legacy=False)
    published.save_pretrained(tmp_path)
    try:
        AutoModelForMaskedLM.from_pretrained(tmp_path)
    except AttributeError:  # transformers 5.17
        loads = False
    else:
        loads = True
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings.pop("legacy") is False
    (tmp_path / "config.json").write_text(json.dumps(settings))
    tokenizer = tokenizer_of(FAMILIES[family][1])
    model = model_for_pretraining(ModelSection(pretrained=str(tmp_path)), tokenizer, LENGTH)
    said = capsys.readouterr().err
    assert ("has no masked-LM head" in said) is not loads
    assert ("cannot load the masked-LM head" in said) is not loads
    if not loads:
        return
    batch = batch_of(model.config.vocab_size)
    with torch.no_grad():
        expected = published(batch["input_ids"][1:]).logits[0, [0, 3, 17]]
    assert torch.allclose(logits(model, batch)[8:], expected, atol=1e-5)
    model.save_pretrained(tmp_path / "continued")
    _, info = AutoModelForMaskedLM.from_pretrained(tmp_path / "continued", output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]


def test_a_model_of_two_halves_is_refused(tmp_path: Path) -> None:
    BartConfig().save_pretrained(tmp_path)  # before its weights are loaded
    with pytest.raises(UserError, match="is an encoder-decoder"):
        model_for_pretraining(ModelSection(pretrained=str(tmp_path)), tokenizer_of("bert-uncased"), LENGTH)


def test_a_copy_reads_its_own_batch() -> None:
    """The hooks of a copied model, on which batch sizes are tried, are its own."""
    model = packed(plain("DeBERTa v3"), LENGTH)
    batch = batch_of(model.config.vocab_size)
    expected = logits(model, batch)
    copy = deepcopy(model)
    for parameter in model.parameters():
        parameter.data.zero_()
    assert torch.equal(logits(copy, batch), expected)


@pytest.mark.parametrize("family", sorted(REFUSED))
def test_a_family_that_does_not_pack_is_refused_with_the_reason(family: str) -> None:
    """BigBird's sparse attention leaks. The others fail: no layer of theirs takes a mask of pairs of tokens."""
    transformers_logging.set_verbosity_error()
    with pytest.raises(UserError) as caught:
        packed(plain(family, **({"architectures": None} if family == "Funnel" else {})), 48)
    reason = caught.value.__cause__
    if family == "BigBird":
        assert isinstance(reason, packing_trial._Leak)
        assert "documents of a big_bird model see each other" in str(caught.value)
    else:
        assert isinstance(reason, packing_trial.NOT_TAKEN)
        assert "takes no mask of documents" in str(caught.value)
        assert f"({type(reason).__name__}: {str(reason).splitlines()[0]})" in str(caught.value)


def test_what_is_read_otherwise_than_alone_is_no_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here positions count from another number in blocks."""
    monkeypatch.setattr(packing_trial, "skipped_positions", lambda _: 3)
    with pytest.raises(UserError, match="a document is not read by a bert model as if it were alone") as caught:
        packed(plain("BERT"), LENGTH)
    assert type(caught.value.__cause__) is packing_trial._Misread


class WholeRows(BertForMaskedLM):
    """A BERT whose head fails if it does not get all tokens of the input."""

    def forward(self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None) -> Any:
        states = self.bert(input_ids, attention_mask=attention_mask, position_ids=position_ids).last_hidden_state
        if states.shape[:2] != input_ids.shape:
            raise ValueError("whole rows, please")
        return MaskedLMOutput(logits=self.cls(states))


def test_a_head_that_needs_all_tokens_gets_them(capsys: pytest.CaptureFixture[str]) -> None:
    model, batch = plain("BERT"), batch_of(plain("BERT").config.vocab_size)
    whole = WholeRows(model.config).eval()
    whole.load_state_dict(model.state_dict())
    packed(whole, LENGTH)
    assert whole.packing == Packing(head_on_chosen=False)
    assert "the head of a bert model runs on all tokens" in capsys.readouterr().err
    assert torch.allclose(logits(whole, batch), logits(packed(model, LENGTH), batch), atol=1e-6)


def test_a_trial_that_runs_out_of_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("llmkit.models.masked_lm.Packed.masked_logits", full)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        packed(plain("BERT"), LENGTH)


def test_what_packs_in_short_blocks_alone() -> None:
    """BigBird attends to all of a short text, up to 28 tokens here."""
    model = packed(plain("BigBird"), LENGTH)
    assert model.config.attention_type == "block_sparse"
    batch = batch_of(model.config.vocab_size)
    with torch.no_grad():
        alone = model.plain(batch["input_ids"][:1, 10:18]).logits[0, [0, 2, 7]]
    assert torch.allclose(logits(model, batch)[3:6], alone, atol=1e-5)


@pytest.mark.parametrize("family", quick_or_slow(PACKED, QUICK))
def test_a_checkpoint_is_continued_with_its_tokenizer(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An encoder without a head, and with a token that was added to its vocabulary."""
    tokenizer = load_tokenizer(str(write_encoder(family, tmp_path)))
    check_for_pretraining(tokenizer, family)
    vocabulary = Vocabulary.of(tokenizer)
    assert vocabulary.special[[tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id]].all()
    size = AutoModelForMaskedLM.from_pretrained(tmp_path).config.vocab_size
    tokenizer.add_tokens(["velmora"])
    model = model_for_pretraining(ModelSection(pretrained=str(tmp_path)), tokenizer, 64)
    said = capsys.readouterr().err
    assert "has no masked-LM head: " in said
    assert "1 added token (velmora)" in said
    batch = batch_of(size) | {"labels": torch.full((11,), size)}
    assert model.config.vocab_size == size + 1
    loss, found = gradients(model, batch)
    assert loss > 0
    assert found.keys() == dict(model.named_parameters()).keys()
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tied == model.config.tie_word_embeddings
    too_long = pytest.raises(UserError, match="exceeds the 64 positions")
    with nullcontext() if family.startswith("DeBERTa") else too_long:  # relative positions have no limit
        model_for_pretraining(ModelSection(pretrained=str(tmp_path)), tokenizer, 65)
