"""The arguments of the Trainer where there are GPUs, and the settings of a GPU; none is needed to look at them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel
from transformers.training_args import ParallelMode

from llmkit.recipes.pretraining import TrainSection
from llmkit.system import gpu
from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir
from llmkit.training.arguments import CHECKPOINTING, check_checkpointing, training_arguments

pytestmark = pytest.mark.oldest


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card 9000")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def settings() -> Iterator[None]:
    """Restores what `set_up` changes."""
    precision, warn = torch.get_float32_matmul_precision(), torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic, fills = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic
    cudnn, filled = torch.backends.cuda.cudnn_sdp_enabled(), fills.fill_uninitialized_memory
    environment = dict(os.environ)
    yield
    torch.set_float32_matmul_precision(precision)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn)
    torch.backends.cuda.enable_cudnn_sdp(cudnn)
    fills.fill_uninitialized_memory = filled
    os.environ.clear()
    os.environ.update(environment)


def arguments(folder: Path, **train: Any) -> Any:
    section = TrainSection(max_steps=1, **train)
    return training_arguments(section, RunDir(folder), metric="loss", higher_is_better=False)


@pytest.mark.usefixtures("four_gpus")
def test_one_process_uses_one_of_several_gpus(tmp_path: Path) -> None:
    found = arguments(tmp_path, bf16=False)
    assert found.device == torch.device("cuda", 0)
    assert found.n_gpu == 1, "nn.DataParallel is made for more"
    assert found.parallel_mode is ParallelMode.NOT_PARALLEL
    assert found.train_batch_size == 32


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(("asked", "expected"), [(None, 2), (0, 0), (5, 5)])
def test_workers_are_for_gpus(asked: int | None, expected: int, tmp_path: Path) -> None:
    assert arguments(tmp_path, bf16=False, dataloader_num_workers=asked).dataloader_num_workers == expected


def test_a_cpu_makes_its_own_batches(tmp_path: Path) -> None:
    found = arguments(tmp_path)
    assert found.dataloader_num_workers == (2 if torch.cuda.is_available() else 0)
    assert not getattr(found, CHECKPOINTING)
    assert getattr(arguments(tmp_path, activation_checkpointing=True), CHECKPOINTING)


@pytest.mark.usefixtures("four_gpus", "settings")
@pytest.mark.parametrize(("bf16", "precision"), [("auto", "high"), (True, "high"), (False, "highest")])
def test_fp32_is_exact_where_the_recipe_says_fp32(bf16: Any, precision: str, tmp_path: Path) -> None:
    gpu.set_up(bf16)
    assert torch.get_float32_matmul_precision() == precision
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    if bf16 is False:
        assert arguments(tmp_path, bf16=False).tf32 is False, "transformers would turn it on to compile"


@pytest.mark.usefixtures("four_gpus", "settings")
def test_deterministic_kernels_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    gpu.set_up("auto", deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled(), "or attention would only warn"
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    gpu.set_up("auto")
    assert torch.are_deterministic_algorithms_enabled(), "left as it is where there is no recipe"
    gpu.set_up("auto", deterministic=False)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.usefixtures("four_gpus", "settings")
@pytest.mark.parametrize("name", [None, "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_the_allocator_is_the_users_choice(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in gpu.ALLOCATOR:
        monkeypatch.delenv(variable, raising=False)
    if name is not None:
        monkeypatch.setenv(name, "max_split_size_mb:128")
    gpu.set_up("auto")
    found = {variable: os.environ.get(variable) for variable in gpu.ALLOCATOR}
    if name is None:
        assert found == {"PYTORCH_ALLOC_CONF": "expandable_segments:True", "PYTORCH_CUDA_ALLOC_CONF": None}
    else:
        assert found == {**dict.fromkeys(gpu.ALLOCATOR), name: "max_split_size_mb:128"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.usefixtures("settings")
def test_a_cpu_is_left_alone() -> None:
    before = dict(os.environ), torch.get_float32_matmul_precision(), torch.backends.cuda.cudnn_sdp_enabled()
    gpu.set_up("auto", deterministic=True)
    assert before == (dict(os.environ), torch.get_float32_matmul_precision(), torch.backends.cuda.cudnn_sdp_enabled())
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_family_that_cannot_compute_activations_again() -> None:
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    albert, bert = AlbertModel(AlbertConfig(**shape)), BertModel(BertConfig(**shape))
    asked = TrainSection(max_steps=1, activation_checkpointing=True)
    with pytest.raises(UserError, match="transformers has none for albert models"):
        check_checkpointing(asked, albert)
    check_checkpointing(asked, bert)
    check_checkpointing(TrainSection(max_steps=1), albert)
