"""BERT for pretraining: a masked-LM head that computes only what the loss reads."""

from __future__ import annotations

import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast
from transformers.modeling_outputs import MaskedLMOutput

from llmkit.models.checkpoint import bert_config, check_vocabulary, config_of, fresh_modules, load
from llmkit.models.packed_attention import isolation
from llmkit.recipes.pretraining import ModelSection
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.run_folder import resolve_model


class BertForMaskedLM(transformers.BertForMaskedLM):
    """BERT whose vocabulary-sized head runs on the masked tokens alone, over packed blocks.

    It has its parent's name, weights and file format: a checkpoint says and is a plain BertForMaskedLM.
    """

    accepts_loss_kwargs = True  # the Trainer hands over the global number of targets

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        cu_seq_lens: Tensor,
        masked_positions: Tensor,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
    ) -> MaskedLMOutput:
        """Shapes: input_ids, position_ids [B, L]; cu_seq_lens, where the documents of the flattened batch start,
        and its end, int32, [D + 1]; masked_positions, places in the flattened batch, and labels, the tokens
        there, [T].

        The loss is summed over targets and divided by `num_items_in_batch`, the targets of all micro-batches
        and processes of this step, or else by T.
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
    """A BERT to pretrain: from its shape with random weights, or on from a checkpoint.

    Raises UserError where a checkpoint is no BERT or its vocabulary is not the corpus's.
    """
    if section.config is not None:
        return BertForMaskedLM(bert_config(section.config, tokenizer))
    assert section.pretrained is not None
    path = resolve_model(section.pretrained)
    config = config_of(path)
    if config.model_type != "bert":
        raise UserError(
            f"{section.pretrained} is a {config.model_type} model", remedy="pretraining goes on from a BERT"
        )
    check_vocabulary(tokenizer, config, section.pretrained)
    if block_size > config.max_position_embeddings:
        raise UserError(
            f"corpus.block_size {block_size} exceeds the {config.max_position_embeddings} positions of "
            f"{section.pretrained}",
            remedy=f"set corpus.block_size={config.max_position_embeddings}",
        )
    model: BertForMaskedLM
    model, info = load(BertForMaskedLM, path)
    if fresh := fresh_modules(info):
        say(f"{section.pretrained} has no masked-LM head: {', '.join(fresh)} starts from random weights")
    return model
