"""What a student learns: divergences that are torch's own, from the whole step; and from a teacher of every kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import Command, quick_or_slow
from support.families import write_encoder
from support.labels import write_rows
from support.runs import command, run_command, weights
from torch.nn.functional import binary_cross_entropy, kl_div
from transformers import AutoModelForSequenceClassification

from llmkit.commands.finetune import prepare, recipe_of
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.distillation import UNKNOWN, DistilledLoss, of_classes, of_labels, of_numbers, of_spans, states_apart
from llmkit.tasks.head import token_loss
from llmkit.tasks.label.multilabel_head import HEAD as SEVERAL
from llmkit.tasks.teacher import Teacher
from llmkit.tasks.values import IGNORED

T = 3.0
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_divergences_are_torchs() -> None:
    own, theirs = torch.randn(2, 2, 5)
    soft = [(each / T).softmax(-1) for each in (own, theirs)]
    expected = kl_div(soft[0].log(), soft[1], reduction="none").sum(-1) * T**2
    torch.testing.assert_close(of_classes({"logits": own}, {"logits": theirs}, MASK, T), expected)
    likely = [(each / T).sigmoid() for each in (own, theirs)]
    expected = (
        binary_cross_entropy(*likely, reduction="none") - binary_cross_entropy(likely[1], likely[1], reduction="none")
    ) * T**2
    torch.testing.assert_close(of_labels({"logits": own}, {"logits": theirs}, MASK, T), expected)
    numbers = [{"logits": each[:, :1]} for each in (own, theirs)]
    torch.testing.assert_close(of_numbers(*numbers, MASK, T), (own - theirs)[:, 0] ** 2)


def test_padding_is_no_place_for_a_span() -> None:
    own, theirs = ({f"{end}_logits": torch.randn(2, 5) for end in ("start", "end")} for _ in range(2))
    found = of_spans(own, theirs, MASK, T)
    for row, length in enumerate((5, 3)):
        for column, end in enumerate(("start_logits", "end_logits")):
            one, other = ((each[end][row, :length] / T).softmax(-1) for each in (own, theirs))
            expected = kl_div(one.log(), other, reduction="sum") * T**2
            torch.testing.assert_close(found[row, column], expected)


@pytest.mark.parametrize("of", [of_classes, of_labels, of_numbers])
def test_there_is_nothing_to_learn_from_an_equal(of: Any) -> None:
    logits = {"logits": torch.randn(4, 3)}
    torch.testing.assert_close(of(logits, logits, MASK, T), torch.zeros_like(of(logits, logits, MASK, T)))


def test_a_step_is_the_same_in_pieces() -> None:
    """Tags, some of them unknown, and positions without a target."""
    own, theirs = torch.randn(2, 4, 6, 3)
    labels = torch.randint(3, (4, 6))
    labels[:, 0], labels[1] = IGNORED, UNKNOWN
    inputs = {"attention_mask": torch.ones(4, 6), "taught": theirs}
    loss = DistilledLoss(
        token_loss(), lambda batch: {"logits": batch["taught"]}, of_classes, weight=0.25, temperature=T
    )
    whole = loss.on(dict(inputs))({"logits": own}, labels)
    count = labels.ne(IGNORED).sum()
    assert count == 21
    pieces = [
        loss.on({name: each[part] for name, each in inputs.items()})({"logits": own[part]}, labels[part], count)
        for part in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(sum(pieces), whole)
    # By hand: a known target has a quarter from the teacher; an unknown one has nothing else.
    apart = of_classes({"logits": own}, {"logits": theirs}, MASK, T)
    known = (labels != IGNORED) & (labels != UNKNOWN)
    crossed = torch.nn.functional.cross_entropy(own[known], labels[known], reduction="sum")
    expected = (0.75 * crossed + 0.25 * apart[known].sum() + apart[labels == UNKNOWN].sum()) / 21
    torch.testing.assert_close(whole, expected)


def test_unknown_labels_of_a_set_are_what_the_teacher_says() -> None:
    own, theirs = torch.randn(2, 2, 3)
    labels = torch.tensor([[1.0, 0.0, 1.0], [torch.nan] * 3])
    loss = DistilledLoss(SEVERAL.loss, lambda _: {"logits": theirs}, of_labels, weight=0.5, temperature=1.0)
    found = loss.on({"attention_mask": MASK})({"logits": own}, labels)
    told = torch.stack([labels[0], theirs[1].sigmoid()])
    expected = (
        0.5 * SEVERAL.loss({"logits": own}, told)
        + 0.5 * of_labels({"logits": own}, {"logits": theirs}, MASK, 1.0).mean()
    )
    torch.testing.assert_close(found, expected)


def test_states_are_compared_at_the_same_depth_and_without_padding() -> None:
    own = [torch.randn(2, 5, 6) for _ in range(3)]
    theirs = [torch.randn(2, 5, 4) for _ in range(5)]
    found = states_apart({"hidden_states": own}, {"hidden_states": theirs}, {"attention_mask": MASK})
    for row, length in enumerate((5, 3)):
        expected = torch.zeros(())
        for mine, wanted in ((own[1], theirs[2]), (own[2], theirs[4])):
            for head in range(2):  # of 3 and of 2 numbers
                one, other = (
                    (part @ part.T / part.shape[1] ** 0.5).softmax(-1)
                    for part in (each[row, :length].chunk(2, dim=-1)[head] for each in (mine, wanted))
                )
                expected = expected + kl_div(one.log(), other, reduction="sum") / (2 * 2 * length)
        torch.testing.assert_close(found[row], expected)


def test_a_student_deeper_than_its_teacher_has_the_teachers_first_layer_first() -> None:
    theirs = [torch.randn(2, 5, 6) for _ in range(3)]
    copies = [theirs[layer] for layer in (0, 1, 1, 2, 2)]  # shares of 0.5, 1, 1.5 and 2 layers
    apart = states_apart({"hidden_states": copies}, {"hidden_states": theirs}, {"attention_mask": MASK})
    torch.testing.assert_close(apart, torch.zeros(2))


# --- through the command ---

NAMES = ["Ines", "Carrow", "built", "the", "old", "lamp", "of", "Velmora"]
STEPS = ["train.max_steps=4", "train.num_train_epochs=null", "train.logging_steps=1", "train.eval_steps=2"]
STEPS += ["data.max_length=32", "train.per_device_train_batch_size=4", "train.bf16=false"]
KINDS = {
    "classification": ["data.pair_column=other"],
    "multilabel": [],
    "regression": [],
    "squad": ["data.doc_stride=8"],
    "ner": [],
}


def rows(kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for n in range(12):
        words = NAMES * (1 + n % 3)
        text = " ".join(words)
        match kind:
            case "squad":
                answers = {"text": ["Ines Carrow"], "answer_start": [0]}
                found.append({"id": str(n), "question": "Who built it?", "context": text, "answers": answers})
            case "ner":
                found.append({"tokens": words, "tags": ["B-PER", "I-PER", *["O"] * (len(words) - 2)]})
            case _:
                label = {"classification": "xyz"[n % 3], "multilabel": ["x", "y"][: n % 3], "regression": 100 * n + 7.0}
                found.append({"text": text, "other": "Who left?", "label": label[kind]})
    return found


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT without dropout, so that a model in training computes what it computes as a teacher."""
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder("BERT", folder, hidden_dropout_prob=0.0)
    return folder


def tune(kind: str, *more: str) -> list[str]:
    data = [f"data.train={kind}.jsonl", f"data.validation={kind}.jsonl", *KINDS[kind]]
    return ["finetune", "--task", kind, *data, *STEPS, *more]


def losses(run: str) -> list[float]:
    lines = map(json.loads, Path(run, "log.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("kind", quick_or_slow(KINDS, {"regression", "squad"}))
def test_a_copy_of_the_teacher_has_nothing_to_learn_from_it(
    kind: str, encoder: Path, tmp_path: Path, llmkit: Command
) -> None:
    """The outputs are the same, whatever the kind, in the same order and unit; also where there are no labels."""
    write_rows(tmp_path / f"{kind}.jsonl", rows(kind))
    write_rows(tmp_path / "more.jsonl", [without_answer(row) for row in rows(kind)])
    code, _, err = llmkit(*tune(kind, f"model.pretrained={encoder}", "train.learning_rate=1e-3"), "-o", "teacher")
    assert code == 0, err
    # The student's training data differ: another mean of the numbers, and another order of the labels.
    student = ["model.pretrained=teacher", "model.teacher=teacher", "model.teacher_weight=1"]
    student += ["data.unlabelled=more.jsonl", "model.teacher_hidden_states=true"]
    if kind == "regression":
        write_rows(tmp_path / f"{kind}.jsonl", rows(kind)[4:])
    if kind == "classification":
        shutil.copytree(tmp_path / "teacher", tmp_path / "same")
        reorder_outputs(tmp_path / "teacher" / "model")
        student[0] = "model.pretrained=same"
    code, _, err = llmkit(*tune(kind, *student, "train.learning_rate=1e-9"), "-o", "student")
    assert code == 0, err
    assert "unlabelled: 12 examples, of which the teacher's outputs are all that is learned" in err
    assert losses("student") == pytest.approx([0.0] * 4, abs=1e-6)
    environment = json.loads(Path("student/env.json").read_text())
    assert set(environment["data"]) == {"train", "validation", "unlabelled", "teacher"}
    assert environment["sizes"]["unlabelled"] == {"examples": 12}
    assert f"`{environment['data']['teacher']}`" in Path("student/model/README.md").read_text()


def without_answer(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("label", "answers", "tags")}


def reorder_outputs(folder: Path) -> None:
    """Give a classifier's outputs another order, by their names."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        for weight in (model.classifier.weight, model.classifier.bias):
            weight.copy_(weight[[2, 0, 1]].clone())
    model.config.id2label = {0: "z", 1: "x", 2: "y"}
    model.config.label2id = {"z": 0, "x": 1, "y": 2}
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def taught(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rows of classification and of ner, a teacher of each, and models to train."""
    folder = tmp_path_factory.mktemp("taught")
    for kind in ("classification", "ner"):
        write_rows(folder / f"{kind}.jsonl", rows(kind))
        command(folder, *tune(kind, f"model.pretrained={encoder}"), "-o", f"{kind}-teacher")
    write_rows(folder / "more.jsonl", [without_answer(row) for row in rows("classification")])
    write_encoder("DistilBERT", folder / "distilbert")
    write_encoder("RoBERTa", folder / "roberta")
    write_encoder("BERT", folder / "long", max_position_embeddings=128)
    shutil.copytree(encoder, folder / "encoder")
    return folder


@pytest.fixture
def here(taught: Path, tmp_path: Path) -> Path:
    """The same, to train in."""
    for entry in taught.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


def test_a_teacher_reads_segments_that_its_student_does_not(
    here: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    ask = Teacher.__call__

    def watched(self: Teacher, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        seen.append(inputs)
        return ask(self, inputs)

    monkeypatch.setattr(Teacher, "__call__", watched)
    student = ["model.pretrained=distilbert", "model.teacher=classification-teacher", "data.unlabelled=more.jsonl"]
    code, _, err = llmkit(*tune("classification", *student), "-o", "run", "--auto-batch")
    assert code == 0, err
    # "Who left?" and the [SEP] behind it are as long in every row; some of the texts are longer than the room for them.
    assert seen
    for inputs in seen:
        types, mask = inputs["token_type_ids"], inputs["attention_mask"]
        assert types.shape == mask.shape
        assert types.amax(1).tolist() == [1] * len(types)
        assert not (types * (1 - mask)).any()
    names = json.loads(Path("run/model/tokenizer_config.json").read_text())["model_input_names"]
    assert names == ["input_ids", "attention_mask"]
    assert min(losses("run")) > 0


@pytest.mark.parametrize("student", [True, False])
def test_one_of_them_keeps_its_padding(
    student: bool, here: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may hold for one alone: it has no dropout, and some families do not do without padding."""
    asked: list[Teacher] = []
    ask = Teacher.__call__

    def watched(self: Teacher, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        assert ("cu_seq_lens" in inputs) != student
        asked.append(self)
        return ask(self, inputs)

    monkeypatch.setattr(Teacher, "__call__", watched)
    monkeypatch.setattr("llmkit.models.unpadded.kernel_holds", lambda *_, training=False, **__: training != student)
    copy = ["model.pretrained=ner-teacher", "model.teacher=ner-teacher", "model.teacher_weight=1"]
    code, _, err = llmkit(*tune("ner", *copy, "train.learning_rate=1e-9", "train.max_steps=2"), "-o", "run")
    assert code == 0, err
    assert losses("run") == pytest.approx([0.0] * 2, abs=1e-6)
    assert not any({"token_places", "cu_seq_lens"} & teacher.inputs for teacher in asked)


def test_a_resumed_student_has_the_same_weights(here: Path, llmkit: Command) -> None:
    student = ["model.pretrained=encoder", "model.teacher=ner-teacher", "train.learning_rate=1e-3"]
    student += ["train.gradient_accumulation_steps=2", "data.unlabelled=ner.jsonl"]
    code, _, err = llmkit(*tune("ner", *student), "-o", "run")
    assert code == 0, err
    whole = weights(here / "run")
    for part in ("model", "checkpoints/checkpoint-4"):
        shutil.rmtree(here / "run" / part)
    (here / "run" / "metrics.json").unlink()
    code, _, err = llmkit(*tune("ner", *student), "-o", "run", "--resume")
    assert code == 0, err
    assert "resuming from run/checkpoints/checkpoint-2" in err
    assert weights(here / "run") == whole
    # Another teacher is another run.
    (here / "run" / "metrics.json").unlink()
    shutil.copytree(here / "ner-teacher", here / "other")
    (here / "ner-teacher").unlink()
    (here / "other").rename(here / "ner-teacher")
    disturb(here / "ner-teacher" / "model" / "model.safetensors")
    code, _, err = llmkit(*tune("ner", *student), "-o", "run", "--resume")
    assert code == 1
    assert "run was started on other data: teacher" in err


def disturb(file: Path) -> None:
    tensors = load_file(file)
    tensors["classifier.bias"] = tensors["classifier.bias"] + 1
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("kind", "overrides", "told"),
    [
        ("ner", ["model.pretrained=roberta"], "reads another vocabulary than the model to train"),
        ("ner", ["model.teacher=classification-teacher"], "has the labels x, y, z, and the data has O, B-PER, I-PER"),
        ("ner", ["data.train=others.jsonl"], "has the labels O, B-PER, I-PER, and the data has O, B-LOC"),
        ("ner", ["model.teacher=nowhere/at/all"], "no such run or checkpoint: nowhere/at/all"),
        (
            "ner",
            ["data.max_length=80", "model.pretrained=long"],
            "exceeds the 64 positions of ner-teacher, the teacher",
        ),
        ("ner", ["data.unlabelled=none.jsonl"], "data.unlabelled: no such file: none.jsonl"),
    ],
)
def test_who_cannot_teach(kind: str, overrides: list[str], told: str, here: Path, llmkit: Command) -> None:
    write_rows(here / "others.jsonl", [{"tokens": ["a", "b"], "tags": ["O", "B-LOC"]}] * 4)
    given = ["model.pretrained=encoder", f"model.teacher={kind}-teacher", *overrides]
    code, _, err = llmkit(*tune(kind, *given), "-o", "run")
    assert code == 1
    assert told in err
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.unlabelled=x"], "data.unlabelled has no effect without model.teacher"),
        (["model.teacher_hidden_states=true"], "teacher_hidden_states has no effect without teacher"),
        (["model.teacher_weight=0.3"], "teacher_weight has no effect without teacher"),
        (["model.teacher_temperature=2"], "teacher_temperature has no effect without teacher"),
        (["model.teacher=x", "train.class_weights=balanced"], "train.class_weights does not go with model.teacher"),
        (["model.teacher=x", "model.teacher_weight=1.5"], "less than or equal to 1"),
    ],
)
def test_what_a_recipe_may_say(overrides: list[str], told: str) -> None:
    files = ["data.train=a", "data.validation=a"]
    with pytest.raises(UserError) as caught:
        read_recipe(FinetuneRecipe, TASKS["classification"].recipe, [*files, *overrides], tasks=TASKS)
    assert told in " ".join(caught.value.problems)


@pytest.mark.parametrize(
    ("kind", "keys", "told"),
    [
        ("similarity", [], "similarity learns from no teacher"),
        ("retrieval", [], "retrieval learns from no teacher"),
        ("translation", ["data.unlabelled=more.jsonl"], "translation cannot learn from examples without targets"),
    ],
)
def test_what_a_kind_cannot_learn_is_said_before_data_is_read(
    kind: str, keys: list[str], told: str, tmp_path: Path
) -> None:
    def read(_: FinetuneRecipe) -> Any:
        pytest.fail("data is read")

    given = ["data.train=train.jsonl", "data.validation=validation.jsonl", "model.teacher=teacher", *keys]
    with pytest.raises(UserError, match=told):
        prepare(recipe_of(kind, None, given), tmp_path / "run", read=read)


def test_a_text_has_a_teacher_and_needs_its_target(tmp_path: Path, llmkit: Command) -> None:
    pairs = [{"en": f"a {word}", "de": f"ein {word}"} for word in NAMES * 2]
    for split in ("train", "validation"):
        write_rows(tmp_path / f"{split}.jsonl", pairs)
    tiny = ["finetune", "-r", "tiny/translation", "train.max_steps=3", "train.logging_steps=1", "train.bf16=false"]
    code, _, err = llmkit(*tiny, "-o", "teacher")
    assert code == 0, err
    keys = ["model={pretrained: teacher, teacher: teacher, teacher_weight: 1}", "train.learning_rate=1e-9"]
    code, _, err = llmkit(*tiny, *keys, "-o", "copy")
    assert code == 0, err
    # Its dropout is all that tells the student from the teacher.
    assert losses("teacher")[0] > 20 * max(losses("copy")) > 0
    code, _, err = llmkit(*tiny, *keys, "data.unlabelled=train.jsonl", "-o", "more")
    assert code == 1
    assert "data.unlabelled: translation cannot learn from examples without targets" in err


@pytest.mark.slow
def test_without_padding_it_learns_the_same(here: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU; here a mask stands in for its kernel. The student's hidden states are then of one row of tokens."""
    keys = ["model.pretrained=encoder", "model.teacher=ner-teacher", "model.teacher_hidden_states=true"]
    for name in ("padded", "unpadded"):
        if name == "unpadded":
            monkeypatch.setattr("llmkit.models.unpadded.kernel_holds", lambda *_, **__: True)
        code, _, err = llmkit(*tune("ner", *keys), "-o", name)
        assert code == 0, err
    lines = map(json.loads, Path("unpadded/log.jsonl").read_text().splitlines())
    assert {line["real_token_share"] for line in lines if "loss" in line} == {1.0}
    assert losses("unpadded") == pytest.approx(losses("padded"), rel=1e-4)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(here: Path, tmp_path: Path) -> None:
    student = ["model.pretrained=encoder", "model.teacher=ner-teacher", "data.unlabelled=ner.jsonl"]
    run_command(*tune("ner", *student, "train.per_device_train_batch_size=4"), "-o", "one", cwd=here)
    two = tune("ner", *student, "train.per_device_train_batch_size=2")
    run_command(*two, "-o", "two", "-n", "2", cwd=here)
    assert losses(str(here / "two")) == pytest.approx(losses(str(here / "one")), rel=1e-4)
