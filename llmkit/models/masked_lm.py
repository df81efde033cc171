"""Masked-LM models of any family, for pretraining on packed blocks. Their head runs on the masked tokens only."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast
from transformers.modeling_outputs import MaskedLMOutput

from llmkit.models.checkpoint import fresh_config, fresh_modules, set_attention_dropout
from llmkit.models.continuing import lengthen, to_continue
from llmkit.models.packing import Packing
from llmkit.models.packing_trial import settle_packing
from llmkit.models.relations import Lessons, attending
from llmkit.models.unpadded import holder_of_layers
from llmkit.models.vocabulary import check_vocabulary, grow_embeddings
from llmkit.recipes.pretraining import ModelSection
from llmkit.system.console import say, warn

if TYPE_CHECKING:
    from transformers import PreTrainedModel as Plain
else:
    Plain = object  # it comes before the class of a family, never alone

IGNORED = -100  # cross_entropy's ignore_index


class Packed(Plain):
    """A family's masked-LM class with another forward pass; name, weights and file format are the same.

    The family's own forward pass runs within. Hooks drop all hidden states but those of the masked tokens before its
    head sees them, and give its layers a mask where it takes none. So no list of families and of their heads is needed.
    """

    accepts_loss_kwargs = True  # makes the Trainer pass num_items_in_batch
    packing = Packing()
    lessons: Lessons | None = None  # what it learns from a teacher's attention
    # What the hooks read during a pass, and which argument of the layers is their mask.
    _chosen = None
    _mask = None
    _mask_place = 0

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
        this step, or by those of this micro-batch if that is None. In training with `lessons`, a share of each label's
        loss is how far the relations of this micro-batch's tokens are from the teacher's.
        """
        inputs = (input_ids, position_ids, cu_seq_lens, masked_positions)
        lessons, labelled = self.lessons if self.training else None, labels.ne(IGNORED).sum()
        listening: Any = attending(self, lessons.own_layer) if lessons else nullcontext()
        with listening as attended:
            logits = self.masked_logits(*inputs)
        total = cross_entropy(logits.float(), labels, reduction="sum")
        if lessons:
            apart = labelled * lessons.apart(attended[0], *inputs)
            total = (1 - lessons.weight) * total + lessons.weight * apart
        return MaskedLMOutput(loss=total / (labelled if num_items_in_batch is None else num_items_in_batch))

    def masked_logits(
        self, input_ids: Tensor, position_ids: Tensor, cu_seq_lens: Tensor, masked_positions: Tensor
    ) -> Tensor:
        """The logits [T, V] of the masked tokens. The arguments are those of `forward`."""
        inputs = self.packing.inputs(self.config, input_ids, position_ids, cu_seq_lens)
        self._mask = self.packing.mask_at_layers(self.config, input_ids, cu_seq_lens)
        try:
            if self.packing.head_on_chosen:
                return self.logits_at(masked_positions, **inputs)
            logits: Tensor = self.plain(**inputs).logits.flatten(0, 1)[masked_positions]
            return logits
        finally:  # a pass that fails is followed by others in the trial
            self._mask = None

    def logits_at(self, places: Tensor, **inputs: Any) -> Tensor:
        """The logits [T, V] at places [T] of a flattened batch: the head runs on these alone."""
        self._chosen = places
        try:
            logits: Tensor = self.plain(**inputs).logits.flatten(0, 1)
            return logits
        finally:
            self._chosen = None

    @property
    def plain(self) -> Any:
        """The family's own forward pass."""
        return super().forward

    def _keep_chosen(self, encoder: nn.Module, args: Any, output: Any) -> Any:
        """Turn the encoder's states from [B, L, H] into [1, T, H]."""
        if self._chosen is None:
            return None
        return type(output)(last_hidden_state=output.last_hidden_state.flatten(0, 1)[self._chosen][None])

    def _set_mask(self, layers: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Replace the mask that enters the layers."""
        if self._mask is None:
            return None
        if self._mask_place < len(args):
            return (*args[: self._mask_place], self._mask, *args[self._mask_place + 1 :]), kwargs
        return args, {**kwargs, "attention_mask": self._mask}


def packed(model: Any, block_size: int, name: str = "") -> Any:
    """Let a masked-LM model of transformers, on a CPU in float32, compute packed blocks. Returns the same model.

    `name` is for messages. Raises UserError if it does not keep the documents of a block of this size apart.
    """
    name = name or type(model).__name__
    plain = type(model)
    # The family's name is saved with a model.
    model.__class__ = type(plain.__name__, (Packed, plain), {"__module__": plain.__module__})
    model.base_model.register_forward_hook(model._keep_chosen)
    layers = holder_of_layers(model.base_model)
    arguments = list(inspect.signature(layers.forward).parameters)
    if "attention_mask" in arguments:
        model._mask_place = arguments.index("attention_mask")
        layers.register_forward_pre_hook(model._set_mask, with_kwargs=True)
    settle_packing(model, name, block_size)
    return model


def model_for_pretraining(section: ModelSection, tokenizer: PreTrainedTokenizerFast, block_size: int) -> Any:
    """A masked-LM model to pretrain: with random weights and the given shape, or a checkpoint to continue from.

    Raises UserError if the checkpoint has no masked-LM model, does not keep packed documents apart, has too small a
    vocabulary for the corpus, or has too few positions for `block_size`.
    """
    if section.config is not None:
        return packed(AutoModelForMaskedLM.from_config(fresh_config(section.config, tokenizer)), block_size)
    checkpoint = to_continue(section, block_size)
    assert checkpoint is not None
    check_vocabulary(tokenizer, checkpoint.config.vocab_size, checkpoint.name, may_grow=True)
    config = deepcopy(checkpoint.config)
    if section.max_position_embeddings is not None:
        say(lengthen(config, section.max_position_embeddings, checkpoint.name))
    set_attention_dropout(config, section)
    model, info = checkpoint.load(AutoModelForMaskedLM, config=config)
    published = any(name.startswith("lm_predictions.") for name in info["unexpected_keys"])
    if published and len(tokenizer) <= config.vocab_size:
        # DeBERTa as it was published has a head that transformers leaves out by default, and that cannot grow.
        own = deepcopy(config)
        own.legacy = False
        try:
            model, info = checkpoint.load(AutoModelForMaskedLM, config=own)
        except AttributeError as error:  # transformers 5.17 cannot load it
            warn(f"this version of transformers cannot load the masked-LM head of {checkpoint.name}: {error}")
    if fresh := fresh_modules(info):
        start = "starts" if len(fresh) == 1 else "start"
        say(f"{checkpoint.name} has no masked-LM head: {', '.join(fresh)} {start} from random weights")
    grow_embeddings(model, tokenizer, checkpoint.name)
    return packed(model, block_size, checkpoint.name)
