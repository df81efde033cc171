"""A checkpoint: a run, folder or Hub id that the user names, and what can be loaded from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.corpus.vocab_txt import lone_vocabulary
from llmkit.recipes.pretraining import ModelOrigin, ModelSection
from llmkit.recipes.shapes import BertShape, ModernBertShape
from llmkit.system.errors import UserError
from llmkit.system.hub import file_of, reading_from_the_hub
from llmkit.system.run_folder import RunDir

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")  # BERT's name and other models' name


@dataclass(frozen=True)
class Checkpoint:
    """The model of a run, in a folder, or on the Hub.

    `name` is as the user gave it, for messages. `path` is what transformers loads: a folder or a Hub id.
    """

    name: str
    path: str

    @classmethod
    def named(cls, name: str) -> Checkpoint:
        """Resolve the folder of a run, a model or a tokenizer, or a Hub id. A run stands for the model inside it.

        Raises UserError for a run that has no model yet, a folder without a model, and a path that does not exist.
        """
        path = Path(name)
        if (path / "model" / "config.json").is_file():
            return cls(name, str(path / "model"))
        if (path / "recipe.yaml").is_file():
            raise UserError(
                f"{path} has no finished model", remedy=f"finish it first: its command, with --resume -o {path}"
            )
        known = any((path / file).is_file() for file in ("config.json", "tokenizer_config.json"))
        if path.exists() and not known and lone_vocabulary(path) is None:
            raise UserError(
                f"{path} holds neither a run nor a checkpoint (no config.json)",
                remedy="give the folder of a run, or one that save_pretrained wrote",
            )
        if not path.exists() and (name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/")):
            raise UserError(f"no such run or checkpoint: {name}", remedy="check the path")
        return cls(name, name)

    @property
    def run(self) -> RunDir | None:
        """The run, if the user named the folder of one."""
        run = RunDir(Path(self.name))
        return run if (run.path / "recipe.yaml").is_file() else None

    @cached_property
    def config(self) -> Any:
        """The model's configuration. Raises UserError if transformers cannot read it."""
        from transformers import AutoConfig

        if Path(self.path).exists() and self.file("config.json") is None:
            raise UserError(
                f"{self.path} has no config.json: no model can be loaded from it",
                remedy="give a folder that save_pretrained wrote; convert a TensorFlow checkpoint first",
            )
        try:
            with reading_from_the_hub("model", self.path):
                return AutoConfig.from_pretrained(self.path, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path} cannot be loaded: {str(error).splitlines()[0]}",
                remedy="give a checkpoint that transformers' AutoConfig reads",
            ) from error

    def tokenizer(self, subfolder: str = "") -> PreTrainedTokenizerFast:
        """Load its tokenizer, whose `model_input_names` are those that the model takes.

        Raises UserError if there is no fast tokenizer with a vocabulary.
        """
        tokenizer = load_tokenizer(self.path, name=self.name, subfolder=subfolder)
        # Fine-tuning saved these names already. A folder of a tokenizer alone has no model to ask.
        fine_tuned = self.run is not None and self.file("llmkit.json") is not None
        if not fine_tuned and self.file("config.json") is not None:
            from llmkit.models.capabilities import fit_inputs

            fit_inputs(tokenizer, self._encoder)
        return tokenizer

    def file(self, name: str) -> Path | None:
        """The path of one of its files; None if it has no such file. Raises UserError if the Hub fails."""
        return file_of(self.path, name)

    def load(self, kind: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Load the weights into the model class `kind`, in float32. Reads only safetensors, so it runs no pickled code.

        Returns the model and transformers' loading info. Raises UserError if the weights cannot be loaded.
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
            if str(error).startswith("Unrecognized configuration class"):
                raise self.without(kind) from error
            raise UserError(
                f"{self.path} cannot be loaded: {str(error).splitlines()[0]}",
                remedy="llmkit reads safetensors only; convert other checkpoints with transformers",
            ) from error
        if any(".lora_A." in key for key in info["unexpected_keys"]):
            raise UserError(
                f"{self.name} is for --resume: it holds the adapters of LoRA beside the weights",
                remedy="name the run, or finish it first with --resume; its model has them merged",
            )
        return model, info

    def without(self, kind: Any) -> UserError:
        """The error for a family of which transformers has no model of the class `kind`."""
        return UserError(
            f"{self.name} is a {self.config.model_type} model, and transformers has no "
            f"{kind.__name__.removeprefix('AutoModel')} for it",
            remedy="choose a model of another family",
        )

    @property
    def positions(self) -> int | None:
        """The longest input that it reads, in tokens; None if there is no limit."""
        from llmkit.models.capabilities import positions_of

        return positions_of(self._encoder)

    @property
    def target_positions(self) -> int | None:
        """The longest output of its decoder, in tokens; None if there is no limit."""
        from llmkit.models.capabilities import positions_of, skeleton

        decoder = getattr(self.config, "decoder", None)
        return positions_of(skeleton(decoder)) if decoder is not None else self.positions

    @cached_property
    def _encoder(self) -> PreTrainedModel:
        """The encoder without weights. Raises UserError if it is not a model that AutoModel knows."""
        from llmkit.models.capabilities import skeleton

        try:
            return skeleton(getattr(self.config, "encoder", self.config))
        except ValueError as error:
            raise UserError(
                f"{self.name} cannot be used: it is a {self.config.model_type} model, not an encoder of text",
                remedy="give a BERT-like encoder, or an encoder-decoder",
            ) from error


def check_length(length: int, positions: int | None, name: str, key: str = "max_length") -> None:
    """Raises UserError if `length`, the value of data.`key`, exceeds the positions of the model."""
    if positions is not None and length > positions:
        stride = " (and data.doc_stride, if the task has it, to a third of that)" if key == "max_length" else ""
        raise UserError(
            f"data.{key} {length} exceeds the {positions} positions of {name}",
            remedy=f"set data.{key}={positions}{stride}",
        )


def set_attention_dropout(config: Any, section: ModelOrigin) -> None:
    """Replace a checkpoint's attention dropout by the recipe's, 0 by default."""
    for key in ATTENTION_DROPOUT:
        if hasattr(config, key):
            setattr(config, key, section.attention_probs_dropout_prob or 0.0)


def with_own_dropout(section: ModelSection) -> ModelSection:
    """The same model, with the attention dropout of its checkpoint: so earlier versions continued it."""
    if section.pretrained is None or section.attention_probs_dropout_prob is not None:
        return section
    config = Checkpoint.named(section.pretrained).config
    own = next((getattr(config, key) for key in ATTENTION_DROPOUT if hasattr(config, key)), None)
    return section.model_copy(update={"attention_probs_dropout_prob": own})


def fresh_modules(info: dict[str, Any], *, pooler: bool = False) -> list[str]:
    """The modules whose weights a checkpoint lacks or has in another size. With `pooler`, the pooler counts as one."""
    names = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
    modules = {"pooler" if ".pooler." in name else name.split(".")[0] for name in names}
    return sorted(modules if pooler else modules - {"pooler"})


def zero_unused(model: PreTrainedModel, info: dict[str, Any]) -> None:
    """Set the weights that a checkpoint lacks to 0, where nothing reads them: a pooler. Random ones would give a model
    another fingerprint in each process."""
    import torch

    with torch.no_grad():
        for name in info["missing_keys"]:
            model.get_parameter(name).zero_()


def fresh_config(shape: BertShape | ModernBertShape, tokenizer: PreTrainedTokenizerFast) -> PretrainedConfig:
    """The configuration of a model with this shape, and this tokenizer's vocabulary and special tokens."""
    from transformers import AutoConfig

    ids: dict[str, int | None] = {"pad_token_id": tokenizer.pad_token_id}
    if shape.model_type == "modernbert":
        # Its defaults are the ids of ModernBERT's own vocabulary, most of them beyond the end of a smaller one.
        first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
        ids |= {"cls_token_id": first, "bos_token_id": first, "sep_token_id": last, "eos_token_id": last}
    config: PretrainedConfig = AutoConfig.for_model(
        shape.model_type, vocab_size=len(tokenizer), **ids, **shape.config_fields()
    )
    return config


def describe(model: PreTrainedModel) -> str:
    """One line: class, layers × width, parameters."""
    config = model.config
    parameters = sum(p.numel() for p in model.parameters())
    halves = [config.encoder, config.decoder] if config.model_type == "encoder-decoder" else [config]
    shape = " + ".join(
        f"{getattr(half, 'num_hidden_layers', '?')} × {getattr(half, 'hidden_size', '?')}" for half in halves
    )
    return f"{type(model).__name__}, {shape}, {parameters / 1e6:.1f} M parameters"
