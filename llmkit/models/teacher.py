"""The teacher of a pretraining run: found before a corpus is tokenized, and loaded afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.models.checkpoint import Checkpoint
from llmkit.models.continuing import to_continue
from llmkit.models.masked_lm import model_for_pretraining
from llmkit.models.packing_trial import choose_attention
from llmkit.models.relations import Lessons
from llmkit.recipes.pretraining import ModelSection

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WEIGHT = 0.5


def teacher_of(section: ModelSection, block_size: int) -> Checkpoint | None:
    """The teacher that a recipe names. Reads its configuration alone. Raises UserError as for one to continue."""
    return to_continue(ModelSection(pretrained=section.teacher), block_size) if section.teacher is not None else None


def lessons_of(
    section: ModelSection, tokenizer: PreTrainedTokenizerFast, block_size: int, *, bf16: bool
) -> Lessons | None:
    """Load the teacher that a recipe names. Raises UserError if it does not keep packed documents apart, or cannot be
    learned from."""
    if section.teacher is None:
        return None
    teacher = model_for_pretraining(ModelSection(pretrained=section.teacher), tokenizer, block_size)
    choose_attention(teacher, bf16=bf16)
    weight = WEIGHT if section.teacher_weight is None else section.teacher_weight
    return Lessons(teacher, section.teacher, layer=section.teacher_layer, weight=weight, bf16=bf16)
