"""BERT for pretraining: a masked-LM head that runs on the masked tokens alone, over packed blocks."""

from __future__ import annotations

import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast
from transformers.modeling_outputs import MaskedLMOutput

from llmkit.models.checkpoint import Checkpoint, bert_config, fresh_modules
from llmkit.models.packed_attention import isolation
from llmkit.recipes.pretraining import ModelSection
from llmkit.system.console import say
from llmkit.system.errors import UserError


class BertForMaskedLM(transformers.BertForMaskedLM):
    """A plain BertForMaskedLM in name, weights and file format, with another forward pass."""

    accepts_loss_kwargs = True  # the Trainer then passes num_items_in_batch

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        cu_seq_lens: Tensor,
        masked_positions: Tensor,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
    ) -> MaskedLMOutput:
        """The loss over masked tokens.

        input_ids, position_ids: [B, L]. cu_seq_lens: int32, [D + 1], where each document of the flattened batch
        starts, and its end. masked_positions: [T], positions in the flattened batch. labels: [T], the tokens there.

        The sum over targets is divided by `num_items_in_batch`, the targets of all micro-batches and processes of
        this step, or by T.
        """
        hidden = self.bert(
            input_ids, position_ids=position_ids, **isolation(self.config, input_ids, cu_seq_lens)
        ).last_hidden_state
        logits = self.cls(hidden.flatten(0, 1)[masked_positions])
        total = cross_entropy(logits.float(), labels, reduction="sum")
        return MaskedLMOutput(loss=total / (num_items_in_batch if num_items_in_batch is not None else len(labels)))


def model_for_pretraining(
    section: ModelSection, tokenizer: PreTrainedTokenizerFast, block_size: int
) -> BertForMaskedLM:
    """A BERT to pretrain: of a given shape with random weights, or a checkpoint to continue.

    Raises UserError where a checkpoint is not a BERT or has another vocabulary than the corpus.
    """
    if section.config is not None:
        return BertForMaskedLM(bert_config(section.config, tokenizer))
    assert section.pretrained is not None
    checkpoint = Checkpoint.named(section.pretrained)
    config = checkpoint.config
    if config.model_type != "bert":
        raise UserError(f"{checkpoint.name} is a {config.model_type} model", remedy="pretraining continues a BERT only")
    checkpoint.check_vocabulary(tokenizer)
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
    return model
