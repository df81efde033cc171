"""A checkpoint to continue: what its configuration must allow, and a longer context for a ModernBERT.

Nothing here reads weights or text, so what is wrong is said before a corpus is tokenized.
"""

from __future__ import annotations

from typing import Any

from llmkit.models.checkpoint import Checkpoint
from llmkit.recipes.pretraining import ModelSection
from llmkit.recipes.shapes import rope_theta_for
from llmkit.system.errors import UserError

KEY = "model.max_position_embeddings"


def to_continue(section: ModelSection, block_size: int) -> Checkpoint | None:
    """The checkpoint of a recipe, if it continues one. Reads its configuration alone.

    Raises UserError if there is no such checkpoint, if it is an encoder-decoder or of a family without masked LM, if it
    cannot be lengthened as the recipe says, or if it has too few positions for blocks of `block_size` tokens.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM

    if section.pretrained is None:
        return None
    checkpoint, positions = Checkpoint.named(section.pretrained), section.max_position_embeddings
    name, config = checkpoint.name, checkpoint.config
    if config.is_encoder_decoder:
        raise UserError(f"{name} is an encoder-decoder", remedy="continue from an encoder, such as RoBERTa")
    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise checkpoint.without(AutoModelForMaskedLM)
    if positions is not None:
        _check_can_lengthen(config, positions, name)
    limit = positions or checkpoint.positions
    if limit is not None and block_size > limit:
        longer = f", or lengthen it: {KEY}={block_size}" if config.model_type == "modernbert" else ""
        raise UserError(
            f"corpus.block_size {block_size} exceeds the {limit} positions of {name}",
            remedy=f"set corpus.block_size={limit}{longer}",
        )
    return checkpoint


def lengthen(config: Any, positions: int, name: str) -> str:
    """Change the configuration of a ModernBERT `name`, for inputs of up to `positions` tokens. Returns what was done.

    A larger base turns the rotary positions of the global layers more slowly, so that far places stay apart. Layers of
    local attention never see far: they keep theirs. Weights do not change.
    """
    rope, before = config.rope_parameters["full_attention"], config.max_position_embeddings
    theta = rope["rope_theta"]
    config.max_position_embeddings = positions
    rope["rope_theta"] = max(theta, rope_theta_for(positions))
    base = f"{rope['rope_theta']:,.0f}, was {theta:,.0f}" if rope["rope_theta"] != theta else "as before"
    return f"{name}: lengthened from {before:,} to {positions:,} positions; the base of the rotary ones is {base}"


def _check_can_lengthen(config: Any, positions: int, name: str) -> None:
    """Raises UserError for other families, whose positions are a table or relative, and if it reads more already."""
    if config.model_type != "modernbert":
        raise UserError(
            f"{KEY}: {name} is a {config.model_type} model, and only a ModernBERT can be lengthened",
            remedy="remove it, or continue from a ModernBERT",
        )
    if positions < config.max_position_embeddings:
        raise UserError(
            f"{KEY} {positions}: {name} already reads {config.max_position_embeddings} tokens",
            remedy=f"remove it; corpus.block_size may be anything up to {config.max_position_embeddings}",
        )
