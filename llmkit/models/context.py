"""Lengthen the context of a ModernBERT that is continued: more positions, and the base of its rotary positions."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from llmkit.models.checkpoint import Checkpoint
from llmkit.recipes.shapes import rope_theta_for
from llmkit.system.console import say
from llmkit.system.errors import UserError

KEY = "model.max_position_embeddings"


def lengthened(checkpoint: Checkpoint, positions: int | None) -> Any:
    """The configuration of a checkpoint, for inputs of up to `positions` tokens; its own if that is None.

    A larger base turns the rotary positions of the global layers more slowly, so that far places stay apart. Layers of
    local attention never see far: they keep theirs. Weights do not change. Raises UserError for other families, which
    have a table of positions or none, and if the checkpoint already reads longer inputs.
    """
    config = checkpoint.config
    if positions is None:
        return config
    if config.model_type != "modernbert":
        raise UserError(
            f"{KEY}: {checkpoint.name} is a {config.model_type} model, and only a ModernBERT can be lengthened",
            remedy="remove it, or continue from a ModernBERT",
        )
    if positions < config.max_position_embeddings:
        raise UserError(
            f"{KEY} {positions}: {checkpoint.name} already reads {config.max_position_embeddings} tokens",
            remedy=f"remove it; corpus.block_size may be anything up to {config.max_position_embeddings}",
        )
    config = deepcopy(config)
    rope = config.rope_parameters["full_attention"]
    before = (config.max_position_embeddings, rope["rope_theta"])
    config.max_position_embeddings = positions
    rope["rope_theta"] = max(rope["rope_theta"], rope_theta_for(positions))
    say(
        f"{checkpoint.name}: lengthened from {before[0]:,} to {positions:,} positions; the base of the rotary ones is "
        + (f"{rope['rope_theta']:,.0f}, was {before[1]:,.0f}" if rope["rope_theta"] != before[1] else "as before")
    )
    return config
