"""A checkpoint: what a user calls a model, resolved once into a value that travels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.recipes.pretraining import BertShape
from llmkit.system.errors import UserError
from llmkit.system.hub import file_of, reading_from_the_hub
from llmkit.system.run_folder import RunDir

if TYPE_CHECKING:
    from transformers import BertConfig, PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Checkpoint:
    """A model of a run, of a folder, or of the Hub.

    `name` is what the user called it, for messages; `path` is what transformers loads: a folder, or a Hub id.
    """

    name: str
    path: str

    @classmethod
    def named(cls, name: str) -> Checkpoint:
        """Resolve a run, a folder or a Hub id; a run means the model inside it.

        Raises UserError for a run that has no model yet, and for a path that does not exist.
        """
        path = Path(name)
        if (path / "model" / "config.json").is_file():
            return cls(name, str(path / "model"))
        if (path / "recipe.yaml").is_file():
            raise UserError(f"{path} has no finished model", remedy=f"finish it first: --resume -o {path}")
        if path.exists() and not any((path / file).is_file() for file in ("config.json", "tokenizer_config.json")):
            raise UserError(
                f"{path} holds neither a run nor a checkpoint (no config.json)",
                remedy="give the folder of a run, or one that save_pretrained wrote",
            )
        if not path.exists() and (name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/")):
            raise UserError(f"no such run or checkpoint: {name}", remedy="check the path")
        return cls(name, name)

    @property
    def run(self) -> RunDir | None:
        """The run whose folder the user named; None for a bare checkpoint."""
        run = RunDir(Path(self.name))
        return run if (run.path / "recipe.yaml").is_file() else None

    @cached_property
    def config(self) -> Any:
        """The model's configuration. Raises UserError where there is none that transformers reads."""
        from transformers import AutoConfig

        try:
            with reading_from_the_hub("model", self.path):
                return AutoConfig.from_pretrained(self.path, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path} cannot be loaded: {str(error).splitlines()[0]}",
                remedy="give a checkpoint that transformers' AutoConfig reads",
            ) from error

    def tokenizer(self, subfolder: str = "") -> PreTrainedTokenizerFast:
        """Its tokenizer. Raises UserError where there is none that fits."""
        return load_tokenizer(self.path, name=self.name, subfolder=subfolder)

    def file(self, name: str) -> Path | None:
        """One of its files; None where it has no such file. Raises UserError."""
        return file_of(self.path, name)

    def load(self, kind: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Load weights into a class of transformers, in float32, from safetensors alone.

        Returns the model and transformers' loading info. Raises UserError.
        """
        import torch
        from safetensors import SafetensorError

        try:
            with reading_from_the_hub("model", self.path):
                model, info = kind.from_pretrained(
                    self.path,
                    dtype=torch.float32,
                    use_safetensors=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                    **options,
                )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"{self.path} cannot be loaded: {str(error).splitlines()[0]}",
                remedy="llmkit reads safetensors only; convert other checkpoints with transformers",
            ) from error
        return model, info

    @property
    def positions(self) -> int | None:
        """The longest input, in tokens; None where there is no limit."""
        return _positions(self.config, "encoder")

    @property
    def target_positions(self) -> int | None:
        """The longest text that its decoder writes, in tokens; None where there is no limit."""
        return _positions(self.config, "decoder")

    def check_vocabulary(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Raises UserError where a tokenizer has more tokens than the model has embeddings."""
        if len(tokenizer) > self.config.vocab_size:
            raise UserError(
                f"the tokenizer has {len(tokenizer):,} tokens, the vocabulary of {self.name} "
                f"{self.config.vocab_size:,}",
                remedy="use the tokenizer that the checkpoint was trained with",
            )


def _positions(config: Any, half: str) -> int | None:
    if config.model_type == "encoder-decoder":
        config = getattr(config, half)
    positions: int | None = getattr(config, "max_position_embeddings", None)
    return positions


def check_length(length: int, positions: int | None, name: str, key: str = "max_length") -> None:
    """Raises UserError where texts may be longer than a model reads or writes."""
    if positions is not None and length > positions:
        stride = " (and a data.doc_stride, where there is one, of a third of it)" if key == "max_length" else ""
        raise UserError(
            f"data.{key} {length} exceeds the {positions} positions of {name}",
            remedy=f"set data.{key}={positions}{stride}",
        )


def fresh_modules(info: dict[str, Any], *, pooler: bool = False) -> list[str]:
    """Modules that a checkpoint lacks, or has in another size. Only heads that use the pooler ask for it."""
    names = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
    modules = {"pooler" if ".pooler." in name else name.split(".")[0] for name in names}
    return sorted(modules if pooler else modules - {"pooler"})


def bert_config(shape: BertShape, tokenizer: PreTrainedTokenizerFast) -> BertConfig:
    """The configuration of a BERT of this shape for this vocabulary."""
    from transformers import BertConfig

    return BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **shape.model_dump())


def describe(model: PreTrainedModel) -> str:
    """One line: class, layers × width, parameters."""
    config = model.config
    parameters = sum(p.numel() for p in model.parameters())
    halves = [config.encoder, config.decoder] if config.model_type == "encoder-decoder" else [config]
    shape = " + ".join(
        f"{getattr(half, 'num_hidden_layers', '?')} × {getattr(half, 'hidden_size', '?')}" for half in halves
    )
    return f"{type(model).__name__}, {shape}, {parameters / 1e6:.1f} M parameters"
