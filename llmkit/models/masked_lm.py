"""BERT for pretraining on packed blocks. The masked-LM head runs on the masked tokens only."""

from __future__ import annotations

import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast
from transformers.modeling_outputs import MaskedLMOutput

from llmkit.models.checkpoint import Checkpoint, fresh_config, fresh_modules
from llmkit.models.packed_attention import isolation
from llmkit.models.vocabulary import check_vocabulary, grow_embeddings
from llmkit.recipes.pretraining import ModelSection
from llmkit.system.console import say
from llmkit.system.errors import UserError

IGNORED = -100  # cross_entropy's ignore_index


class BertForMaskedLM(transformers.BertForMaskedLM):
    """transformers' BertForMaskedLM with another forward pass; name, weights and file format are the same."""

    accepts_loss_kwargs = True  # makes the Trainer pass num_items_in_batch

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        cu_seq_lens: Tensor,
        masked_positions: Tensor,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
    ) -> MaskedLMOutput:
        """Compute the loss over masked tokens.

        input_ids, position_ids: [B, L]. cu_seq_lens: int32 [D + 1], the starts of the documents in the flattened batch,
        and its length. masked_positions: [T], indices into the flattened batch. labels: [T], the original tokens there;
        -100 is a target that does not count.

        The summed loss is divided by `num_items_in_batch`, the number of labels in all micro-batches and processes of
        this step, or by those of this micro-batch if that is None.
        """
        hidden = self.bert(
            input_ids, position_ids=position_ids, **isolation(self.config, input_ids, cu_seq_lens)
        ).last_hidden_state
        logits = self.cls(hidden.flatten(0, 1)[masked_positions])
        total = cross_entropy(logits.float(), labels, reduction="sum")
        count = labels.ne(IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return MaskedLMOutput(loss=total / count)


def model_for_pretraining(
    section: ModelSection, tokenizer: PreTrainedTokenizerFast, block_size: int
) -> BertForMaskedLM:
    """A BERT to pretrain: with random weights and the given shape, or a checkpoint to continue from.

    Raises UserError if the checkpoint is not a BERT, has too small a vocabulary for the corpus, or has too few
    positions for `block_size`.
    """
    if section.config is not None:
        return BertForMaskedLM(fresh_config(section.config, tokenizer))
    assert section.pretrained is not None
    checkpoint = Checkpoint.named(section.pretrained)
    config = checkpoint.config
    if config.model_type != "bert":
        raise UserError(f"{checkpoint.name} is a {config.model_type} model", remedy="continue from a BERT model")
    check_vocabulary(tokenizer, config.vocab_size, checkpoint.name, may_grow=True)
    if block_size > config.max_position_embeddings:
        raise UserError(
            f"corpus.block_size {block_size} exceeds the {config.max_position_embeddings} positions of "
            f"{checkpoint.name}",
            remedy=f"set corpus.block_size={config.max_position_embeddings}",
        )
    model: BertForMaskedLM
    model, info = checkpoint.load(BertForMaskedLM)
    if fresh := fresh_modules(info):
        say(f"{checkpoint.name} has no masked-LM head: {', '.join(fresh)} starts from random weights")
    grow_embeddings(model, tokenizer, checkpoint.name)
    return model
