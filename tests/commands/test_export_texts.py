"""`llmkit export` of an encoder-decoder: two graphs that write what the model writes, and docs/onnx.md on them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import DOCS, Command
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertLMHeadModel,
    BertModel,
    EncoderDecoderModel,
    GenerationConfig,
    MarianConfig,
    MarianMTModel,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from llmkit.corpus.tokenizer import DECODER_TOKENIZER
from llmkit.corpus.vocabularies import train_bpe
from llmkit.models.onnx import OnnxModel, quantize
from llmkit.tasks.text import onnx

pytestmark = pytest.mark.oldest
PAGE = (DOCS / "onnx.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SOURCES = [f"{a} {b} sit on a bench." for a in ("Two men", "A woman", "Three dogs") for b in ("now", "here", "often")]
TARGETS = [f"{a} sitzen {b}." for a in ("Maenner", "Frauen", "Hunde") for b in ("jetzt", "hier", "oft")]
SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.8,  # so that what random weights write depends on what they read
}


def two_berts(reads: int, writes: int) -> EncoderDecoderModel:
    return EncoderDecoderModel(
        encoder=BertModel(BertConfig(vocab_size=reads, **SHAPE), add_pooling_layer=False),
        decoder=BertLMHeadModel(BertConfig(vocab_size=writes, is_decoder=True, add_cross_attention=True, **SHAPE)),
    )


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two BERTs with a vocabulary each, which has 9 sentences to be checked on."""
    folder = tmp_path_factory.mktemp("material")
    reader, writer = train_bpe(SOURCES, 300), train_bpe(TARGETS, 320)
    torch.manual_seed(3)
    model = two_berts(len(reader), len(writer))
    model.generation_config = GenerationConfig(
        num_beams=3,
        max_new_tokens=12,
        decoder_start_token_id=writer.cls_token_id,
        eos_token_id=writer.sep_token_id,
        pad_token_id=writer.pad_token_id,
    )
    model.config.decoder_start_token_id, model.config.pad_token_id = writer.cls_token_id, writer.pad_token_id
    model.save_pretrained(folder / "run" / "model")
    settings = folder / "run" / "model" / "generation_config.json"
    # What others publish: of no use beside a search, and refused by transformers when it is to be saved.
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "temperature": 0.7}))
    reader.save_pretrained(folder / "run" / "model")
    writer.save_pretrained(folder / "run" / "model" / DECODER_TOKENIZER)
    rows = [{"en": source, "de": target} for source, target in zip(SOURCES, TARGETS, strict=True)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"validation": str(folder / "data.jsonl"), "max_length": 32, "max_target_length": 12}
    (folder / "run" / "recipe.yaml").write_text(json.dumps({"name": "x", "task": "translation", "data": data}))
    return folder


@pytest.mark.slow
def test_it_writes_what_the_model_writes(
    material: Path, llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = llmkit("export", str(material / "run"), "-o", "out", "--int8", "--json")
    assert code == 0, err
    assert "all 9 sentences of validation" in err
    assert "writing encoder_model.onnx, decoder_model.onnx, decoder_with_past_model.onnx" in err
    folder = tmp_path / "out"
    parts = ("encoder", "decoder", "decoder_with_past")
    graphs = {f"{part}_model{bits}.onnx" for part in parts for bits in ("", "_int8")}
    others = {"config.json", "generation_config.json", "llmkit.json", "tokenizer.json", "tokenizer_config.json"}
    assert {file.name for file in folder.iterdir()} == graphs | others | {DECODER_TOKENIZER}
    assert json.loads((folder / "tokenizer.json").read_text())["truncation"] is None, "no text's length is in it"
    report = json.loads(out)
    pytorch, onnx, int8 = report["models"]
    assert [model["name"] for model in report["models"]] == ["PyTorch", "ONNX", "ONNX, int8"]
    assert 0 < onnx["largest_difference"] <= report["tolerance"] < int8["largest_difference"]
    assert onnx["scores"] == pytorch["scores"]
    for model, pattern in ((onnx, "*_model.onnx"), (int8, "*_model_int8.onnx")):
        assert model["megabytes"] == pytest.approx(sum(file.stat().st_size for file in folder.glob(pattern)) / 1e6)
    code, out, err = llmkit("eval", str(material / "run"), "--json")
    assert (code, json.loads(out)) == (0, pytorch["scores"]), err

    # The page's code, in a process that has none of the libraries that wrote the model.
    asked = "import json, sys\nprint(json.dumps([write(text) for text in json.loads(sys.argv[1])]))"
    alone = "print([n for n in ('torch', 'transformers', 'llmkit') if n in sys.modules], file=sys.stderr)"
    program = "\n".join([PYTHON[1].replace("exported/translation", "out"), asked, alone])
    done = subprocess.run([sys.executable, "-c", program, json.dumps(SOURCES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
    written = json.loads(done.stdout.splitlines()[-1])
    model = AutoModelForSeq2SeqLM.from_pretrained(material / "run" / "model")
    reader = AutoTokenizer.from_pretrained(material / "run" / "model")
    writer = AutoTokenizer.from_pretrained(material / "run" / "model", subfolder=DECODER_TOKENIZER)
    ids = [model.generate(**reader(text, return_tensors="pt"), num_beams=1)[0] for text in SOURCES]
    assert written == [writer.decode(row, skip_special_tokens=True).strip() for row in ids]
    assert len(set(written)) > 1, "it depends on what was read"


@pytest.mark.slow
def test_a_model_that_differs_is_not_kept(
    material: Path, llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Off(onnx._FurtherStep):
        def forward(
            self, input_ids: torch.Tensor, encoder_attention_mask: torch.Tensor, past: dict[str, torch.Tensor]
        ) -> tuple[torch.Tensor, ...]:
            logits, *kept = super().forward(input_ids, encoder_attention_mask, past)
            return (logits + 0.001, *kept)

    monkeypatch.setattr(onnx, "_FurtherStep", Off)
    code, out, err = llmkit("export", str(material / "run"), "-o", "out", "--examples", "2")
    assert (code, out) == (1, "")
    assert "ONNX differs from PyTorch by 0.001 in logits of " in err
    assert [file.name for file in tmp_path.iterdir() if file.suffix != ".lock"] == []


def check_first_step(
    model: Any, batch: dict[str, torch.Tensor], prefix: torch.Tensor, encoder: Path, decoder: Path
) -> None:
    """The first step may also go on from several tokens. Its outputs have the names that Optimum gives them."""
    hidden = OnnxModel(encoder)(**batch)["last_hidden_state"]
    reads = {"encoder_hidden_states": hidden, "encoder_attention_mask": batch["attention_mask"]}
    found = OnnxModel(decoder)(input_ids=prefix, **reads)
    with torch.inference_mode():
        expected = model(**batch, decoder_input_ids=prefix).logits
    # Weights of this size round more than trained ones do.
    torch.testing.assert_close(found.pop("logits"), expected, rtol=1e-4, atol=1e-3)
    parts = [f"{half}.{what}" for half in ("decoder", "encoder") for what in ("key", "value")]
    assert list(found) == [f"present.{layer}.{part}" for layer in range(2) for part in parts]


SMALL: dict[str, Any] = {"vocab_size": 300, "d_model": 16, "decoder_start_token_id": 0, "pad_token_id": 0}
HALVES: dict[str, Any] = {
    **SMALL,
    **{f"{half}_{name}": 2 for half in ("encoder", "decoder") for name in ("layers", "attention_heads")},
    **{f"{half}_ffn_dim": 32 for half in ("encoder", "decoder")},
    "max_position_embeddings": 64,
    "init_std": 1.0,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: T5ForConditionalGeneration(T5Config(**SMALL, d_kv=8, d_ff=32, num_layers=2, num_heads=2)),
        lambda: BartForConditionalGeneration(BartConfig(**HALVES, eos_token_id=2)),
        lambda: MarianMTModel(MarianConfig(**HALVES, eos_token_id=2)),
    ],
    ids=["t5", "bart", "marian"],
)
def test_encoder_decoders_of_others(make: Callable[[], PreTrainedModel], tmp_path: Path) -> None:
    torch.manual_seed(4)
    model: Any = make().eval()
    model.generation_config.eos_token_id = None
    tokenizer = train_bpe(SOURCES, 300)
    onnx.write_graphs(model, tokenizer, tmp_path)
    files = [tmp_path / name for name in onnx.ENCODER_DECODER.files]
    writer: Any = onnx.ENCODER_DECODER.run(model, *files)
    written = []
    for beams in (1, 3):
        batch = tokenizer(SOURCES, padding=True, return_tensors="pt")
        batch.pop("token_type_ids", None)
        settings = {"num_beams": beams, "max_new_tokens": 10}
        written = writer.generate(**batch, **settings).tolist()
        assert written == model.generate(**batch, **settings).tolist()
    assert len(set(map(tuple, written))) > 1, "it depends on what was read"
    check_first_step(model, batch, torch.tensor(written)[:, :4], *files[:2])
    for file in files:
        quantize(file, tmp_path / "int8.onnx")
        assert (tmp_path / "int8.onnx").stat().st_size < file.stat().st_size
