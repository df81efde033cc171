"""The files that make a model load with `SentenceTransformer(path)`, beside those that transformers loads."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from llmkit.models.sentence_settings import Pooling


def write_modules(folder: Path, pooling: Pooling) -> None:
    """Write modules.json and what belongs to it into the folder of a model, as the library itself saves them."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

    encoder = Transformer(str(folder), model_kwargs={"local_files_only": True})
    modules = [encoder, PoolingModule(encoder.get_embedding_dimension(), pooling_mode=pooling)]
    with TemporaryDirectory(dir=folder.parent, prefix=".modules.") as aside:
        SentenceTransformer(modules=modules, device="cpu").save(aside, create_model_card=False)
        for entry in Path(aside).iterdir():
            if entry.is_dir():
                shutil.copytree(entry, folder / entry.name, dirs_exist_ok=True)
            elif not (folder / entry.name).exists():  # weights, tokenizer and config.json are there
                shutil.copy(entry, folder / entry.name)
