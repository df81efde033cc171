"""`llmkit export`: what is written, that it is the model, and that nothing is left where it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from onnx import load as load_graph
from onnx import numpy_helper
from onnx import save as save_graph
from support import DOCS, Command
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertTokenizer,
    T5Config,
)

from llmkit.commands import export
from llmkit.commands.export import Measured, Report, largest_difference
from llmkit.models import onnx
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS

pytestmark = pytest.mark.oldest
LETTERS = "abcdefghijklmnopqrstuvwxyz.?"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
SHAPE: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 384,
    "initializer_range": 0.5,  # so that the logits of random weights are as large as trained ones
}
INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
FILES = {"model.onnx", "config.json", "llmkit.json", "tokenizer.json", "tokenizer_config.json"}

# What a user needs who has none of our libraries.
ALONE = """
import json, sys
from onnxruntime import InferenceSession
from tokenizers import Tokenizer
encoding = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json").encode("who founded it?", "tom reed founded ambury.")
inputs = {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids, "attention_mask": encoding.attention_mask}
session = InferenceSession(sys.argv[1] + "/" + sys.argv[2])
outputs = session.run(None, {name: [value] for name, value in inputs.items()})
print(json.dumps({node.name: array.tolist() for node, array in zip(session.get_outputs(), outputs)}))
print([name for name in ("torch", "transformers", "llmkit") if name in sys.modules], file=sys.stderr)
"""


def bert_tokenizer(**options: Any) -> BertTokenizer:
    return BertTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY)}, **options)


def batch(size: int, length: int, names: list[str]) -> dict[str, torch.Tensor]:
    """Rows of falling lengths, the first without padding."""
    random = torch.Generator().manual_seed(size)
    lengths = torch.arange(length, length - size, -1).clamp(min=1)
    places = torch.arange(length).expand(size, length)
    columns = {
        "input_ids": torch.randint(5, len(VOCABULARY), (size, length), generator=random),
        "token_type_ids": (places > length // 2).long(),
        "attention_mask": (places < lengths[:, None]).long(),
    }
    return {name: columns[name] for name in names}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, checkpoints that cannot be exported, and data."""
    folder = tmp_path_factory.mktemp("material")
    torch.manual_seed(1)
    for name, kind in (("run/model", BertForQuestionAnswering), ("encoder", BertForMaskedLM)):
        kind(BertConfig(**SHAPE)).save_pretrained(folder / name)
        bert_tokenizer().save_pretrained(folder / name)
    T5Config(vocab_size=len(VOCABULARY), d_model=16, num_layers=1).save_pretrained(folder / "writer")
    rows = []
    for n in range(24):
        context = f"{'abc def ' * (n % 5)}tom reed founded {LETTERS[n]}mbury."
        answers = {"text": ["tom reed"], "answer_start": [context.index("tom")]}
        rows.append({"id": f"q{n}", "context": context, "question": "who?", "answers": answers})
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "first.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:20]))
    data = {"validation": str(folder / "data.jsonl"), "max_length": 32, "doc_stride": 8, "max_answer_length": 12}
    (folder / "run" / "recipe.yaml").write_text(json.dumps({"name": "x", "task": "squad", "data": data}))
    return folder


@pytest.fixture(scope="module")
def exported(material: Path) -> dict[str, Any]:
    """The report of an export with int8; the folder is material/exported."""
    (material / ".exported.partial").mkdir()
    (material / ".exported.partial" / "half.onnx").write_text("what an export that was killed left")
    arguments = ["export", "run", "-o", "exported", "--int8", "--examples", "20", "--json"]
    command = [sys.executable, "-m", "llmkit", *arguments]
    # The package is covered by other tests; watched, an export takes several times as long.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(command, cwd=material, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the first 20 of 24 questions of validation" in done.stderr
    assert "warn" not in done.stderr.lower(), "what the exporters have to say of themselves"
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_the_folder_is_whole(material: Path, exported: dict[str, Any]) -> None:
    folder = material / "exported"
    assert {file.name for file in folder.iterdir()} == {*FILES, "model_int8.onnx"}
    assert AutoConfig.from_pretrained(folder).architectures == ["BertForQuestionAnswering"]
    assert AutoTokenizer.from_pretrained(folder)("tom.")["input_ids"] == bert_tokenizer()("tom.")["input_ids"]
    for name in ("model.onnx", "model_int8.onnx"):
        assert b".py" not in (folder / name).read_bytes(), "lines of Python, with the paths of this machine"


def test_the_report(material: Path, exported: dict[str, Any], llmkit: Command) -> None:
    pytorch, onnx, int8 = exported["models"]
    assert [exported[name] for name in ("task", "split", "examples")] == ["squad", "validation", 20]
    assert [model["name"] for model in exported["models"]] == ["PyTorch", "ONNX", "ONNX, int8"]
    assert pytorch["largest_difference"] is None
    assert 0 < onnx["largest_difference"] <= exported["tolerance"] < int8["largest_difference"]
    assert onnx["scores"] == pytorch["scores"]
    assert onnx["lost"] == {"exact_match": 0, "f1": 0}
    assert int8["lost"]["f1"] == pytorch["scores"]["f1"] - int8["scores"]["f1"]
    for model in exported["models"][1:]:
        assert model["megabytes"] == (material / "exported" / model["files"][0]).stat().st_size / 1e6
    assert int8["megabytes"] < onnx["megabytes"]
    assert all(model["examples_per_second"] > 0 and model["milliseconds"] > 0 for model in exported["models"])
    code, out, err = llmkit("eval", str(material / "run"), "--data", str(material / "first.jsonl"), "--json")
    assert code == 0, err
    assert json.loads(out) == pytorch["scores"], "the scores are those of `eval`"


def test_onnxruntime_alone_gives_the_same(material: Path, exported: dict[str, Any]) -> None:
    folder = material / "exported"
    inputs = AutoTokenizer.from_pretrained(folder)("who founded it?", "tom reed founded ambury.", return_tensors="pt")
    with torch.inference_mode():
        expected = AutoModelForQuestionAnswering.from_pretrained(material / "run" / "model")(**inputs)
    for file, tolerance in (("model.onnx", 1e-4), ("model_int8.onnx", exported["models"][2]["largest_difference"] * 2)):
        done = subprocess.run(
            [sys.executable, "-c", ALONE, str(folder), file], capture_output=True, text=True, check=True
        )
        assert done.stderr.strip() == "[]", "none of them was imported"
        outputs = json.loads(done.stdout)
        assert list(outputs) == ["start_logits", "end_logits"]
        for name, values in outputs.items():
            np.testing.assert_allclose(values, expected[name].numpy(), rtol=0, atol=tolerance)


def test_the_code_of_the_page_answers(material: Path, exported: dict[str, Any], llmkit: Command) -> None:
    page = (DOCS / "onnx.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code.replace("exported/squad-bert-base", str(material / "exported")), names)
    for n, letter in enumerate("abcdef"):
        question, passage = f"who {letter}?", f"{'tom ' * n}reed founded {letter}mbury.\nit lies by the sea {letter}."
        checkpoint = str(material / "run" / "model")
        done, out, err = llmkit("ask", checkpoint, "-q", question, "-c", passage, "--json")
        assert done == 0, err
        assert names["answer"](question, passage) == json.loads(out)["text"]


def check_graphs(model: Any, names: list[str], outputs: list[str], file: Path, file_int8: Path) -> None:
    """The graphs say what the model says, of batches of any size and length."""
    exact, int8 = onnx.OnnxModel(file), onnx.OnnxModel(file_int8)
    for size, length in ((1, 1), (1, 7), (3, 50), (8, 384)):
        inputs = batch(size, length, names)
        with torch.inference_mode():
            expected = model(**inputs)
        found, rough = exact(**inputs), int8(**inputs)
        assert list(found) == list(rough) == outputs
        for name in outputs:
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-4)
            assert rough[name].shape == expected[name].shape
            apart = (rough[name] - expected[name]).abs()
            assert 0 < apart.max() < expected[name].abs().max()


def test_any_batch_of_any_length(material: Path, exported: dict[str, Any]) -> None:
    model = AutoModelForQuestionAnswering.from_pretrained(material / "run" / "model").eval()
    graphs = [material / "exported" / name for name in ("model.onnx", "model_int8.onnx")]
    check_graphs(model, INPUTS, ["start_logits", "end_logits"], *graphs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "names", "outputs"),
    [
        (BertForQuestionAnswering, ["input_ids", "attention_mask"], ["start_logits", "end_logits"]),
        (BertForSequenceClassification, INPUTS, ["logits"]),
        (BertForTokenClassification, INPUTS, ["logits"]),
    ],
)
def test_models_of_other_inputs_and_outputs(kind: Any, names: list[str], outputs: list[str], tmp_path: Path) -> None:
    torch.manual_seed(2)
    model, file = kind(BertConfig(**SHAPE, num_labels=3 if outputs == ["logits"] else 2)).eval(), tmp_path / "x.onnx"
    attention = model.config._attn_implementation
    onnx.write_onnx(model, bert_tokenizer(model_input_names=names), file)
    assert model.config._attn_implementation == attention, "the model is as it was"
    onnx.quantize(file, tmp_path / "int8.onnx")
    check_graphs(model, names, outputs, file, tmp_path / "int8.onnx")


def test_a_model_that_differs_is_not_kept(
    material: Path, exported: dict[str, Any], llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = load_graph(material / "exported" / "model.onnx")
    (bias,) = (tensor for tensor in graph.graph.initializer if tensor.name.endswith("qa_outputs.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32([0.0, 0.001]), bias.name))
    monkeypatch.setattr(onnx, "write_onnx", lambda model, tokenizer, file: save_graph(graph, file))
    code, out, err = llmkit("export", str(material / "run"), "-o", "out", "--examples", "2")
    assert (code, out) == (1, "")
    assert "ONNX differs from PyTorch by 0.001 in end_logits of q" in err
    assert "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir() if file.suffix != ".lock"] == []


def test_a_model_that_torch_cannot_export(tmp_path: Path) -> None:
    class Reading(BertForQuestionAnswering):
        def forward(self, input_ids: torch.Tensor, **inputs: torch.Tensor) -> Any:
            return super().forward(input_ids[: int(input_ids.max())], **inputs)  # as many rows as the data says

    with pytest.raises(UserError, match="torch cannot export a Reading: "):
        onnx.write_onnx(Reading(BertConfig(**SHAPE)), bert_tokenizer(), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_differences() -> None:
    def outputs(*values: float) -> list[dict[str, Any]]:
        return [{"logits": np.array([1.0, 2.0])}, {"logits": np.array(values)}]

    assert largest_difference(outputs(3, 4), outputs(3, 4))[0] == 0
    assert largest_difference(outputs(3, 4), outputs(3, 3.5)) == (0.5, 1, "logits")
    assert largest_difference(outputs(3, 4), outputs(float("nan"), 9)) == (float("inf"), 1, "logits")
    assert largest_difference(outputs(3e5, 4), outputs(3.003e5, 4)) == (pytest.approx(0.1), 1, "logits")


def test_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    subject: Any = SimpleNamespace(settings=SimpleNamespace(task=TASKS["squad"]), examples=range(1000))

    def measured(name: str, size: float, difference: float | None, exact: float, f1: float) -> Measured:
        return Measured(name, (), size, 12.34, 56.7, difference, {"exact_match": exact, "f1": f1})

    models = [
        measured("PyTorch", 90.9, None, 50.0, 60.0),
        measured("ONNX", 90.8, 1.23e-5, 50.0, 60.0),
        measured("int8", 23.2, 2.15, 50.5, 58.5),
    ]
    export.show(Report(Path("out"), subject, models))
    out, err = capsys.readouterr()
    title, header, *lines = out.splitlines()
    assert title.startswith("out, 1,000 questions, ")
    assert header.split()[-2:] == ["exact_match", "f1"]
    assert [line.split() for line in lines] == [
        ["PyTorch", "90.9", "12.3", "57", "50.00", "60.00"],
        ["ONNX", "90.8", "12.3", "57", "1e-05", "50.00", "(+0.00)", "60.00", "(+0.00)"],
        ["int8", "23.2", "12.3", "57", "2", "50.50", "(+0.50)", "58.50", "(-1.50)"],
    ]
    assert "warning: int8 loses 1.5 points of f1" in err
    assert "docs/onnx.md" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("nowhere/at/all -o out", "no such run or checkpoint: nowhere/at/all"),
        ("encoder -o out --task squad --data data.jsonl", "encoder has no question-answering head"),
        ("run/model -o out", "run/model does not say what task it is for"),
        ("writer -o out --task xsum --data data.jsonl", "writer cannot be loaded: "),
        ("run -o out data.max_length=900", "data.max_length 900 exceeds the 384 positions of run"),
        ("run -o run", "run is in use"),
        ("run -o data.jsonl", "data.jsonl is in use"),
        ("run -o out --data nowhere.jsonl", "nowhere.jsonl"),
        ("run -o out --split test", "test"),
    ],
)
def test_what_can_be_wrong(arguments: str, expected: str, material: Path, llmkit: Command, monkeypatch: Any) -> None:
    monkeypatch.chdir(material)
    before = sorted(material.rglob("*"))
    code, out, err = llmkit("export", *arguments.split())
    assert (code, out) == (1, "")
    assert expected in err
    assert "Traceback" not in err
    assert sorted(material.rglob("*")) == before


def test_without_its_packages(material: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    there = onnx.find_spec
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == "onnxruntime" else there(name))
    code, _, err = llmkit("export", str(material / "run"), "-o", "out")
    assert code == 1
    assert "packages that are not installed: onnxruntime" in err
    assert "pip install 'llmkit[export]'" in err


def test_a_model_beyond_the_size_of_a_file(material: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "LARGEST", 1000)
    code, _, err = llmkit("export", str(material / "run"), "-o", "out")
    assert (code, "do not fit into an ONNX file" in err) == (1, True)
