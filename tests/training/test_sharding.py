"""Which kinds of sharding are refused, and when: before anything is read or written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from support import Command
from transformers import BertConfig, BertForMaskedLM

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir
from llmkit.training.checkpoints import SEAL
from llmkit.training.sharding import (
    SHARDED_WEIGHTS,
    check_same_sharding,
    check_sharding,
    parameters_of,
    restore_parameters,
    retied,
    shard_on_cpus,
    sharding,
)

FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two processes that FSDP2 shards over."""
    for name, value in {**FSDP2, "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "refused"),
    [
        ({"FSDP_VERSION": "1"}, "FSDP1"),
        ({"FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT"}, "FSDP2 with SHARDED_STATE_DICT"),
        ({"FSDP_STATE_DICT_TYPE": "LOCAL_STATE_DICT"}, "FSDP2 with LOCAL_STATE_DICT"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "activation checkpointing by FSDP"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "offloads"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "Megatron-LM"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "parallelism"),
    ],
)
def test_other_sharding_is_refused(
    environment: pytest.MonkeyPatch, variables: dict[str, str], refused: str, llmkit: Command, tmp_path: Path
) -> None:
    environment.delenv("WORLD_SIZE")  # a process that a launcher started leaves by os._exit, this one too
    for name, value in variables.items():
        environment.setenv(name, value)
    # Neither the corpus nor the model is there: nothing was loaded.
    code, _, err = llmkit("pretrain", "-r", "tiny/pretrain", "corpus={path: nowhere}", "model={pretrained: nowhere}")
    assert code == 1
    assert refused in err
    assert "FSDP2 with FULL_STATE_DICT works" in err
    assert "nowhere" not in err
    assert not list(tmp_path.iterdir())


def test_what_a_variable_that_is_not_set_means(environment: pytest.MonkeyPatch) -> None:
    check_sharding(TrainSection(max_steps=1), auto_batch=False)
    for name, refused in (("FSDP_STATE_DICT_TYPE", "SHARDED_STATE_DICT"), ("FSDP_VERSION", "FSDP1")):
        environment.delenv(name)
        with pytest.raises(UserError, match=refused):
            check_sharding(TrainSection(max_steps=1), auto_batch=False)
    environment.delenv("ACCELERATE_USE_FSDP")
    check_sharding(TrainSection(max_steps=1, torch_compile=True), auto_batch=True)


def test_what_does_not_go_with_sharding(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="compiled"):
        check_sharding(TrainSection(max_steps=1, torch_compile=True), auto_batch=False)
    with pytest.raises(UserError, match="--auto-batch"):
        check_sharding(TrainSection(max_steps=1), auto_batch=True)
    environment.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    with pytest.raises(UserError, match="compiled"):
        check_sharding(TrainSection(max_steps=1), auto_batch=False)


def test_a_run_goes_on_as_it_was_started(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    check_same_sharding(run)  # no checkpoint yet
    checkpoint = run.checkpoints / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").touch()
    check_same_sharding(run)  # killed while it saved the first one
    (checkpoint / SEAL).touch()
    with pytest.raises(UserError, match="without FSDP"):
        check_same_sharding(run)
    (checkpoint / SHARDED_WEIGHTS).touch()
    check_same_sharding(run)
    environment.delenv("WORLD_SIZE")  # one process alone: accelerate shards nothing
    assert not sharding()
    with pytest.raises(UserError, match="with FSDP"):
        check_same_sharding(run)


@pytest.mark.parametrize("asked", [True, False])
def test_cpus_are_sharded_over_if_asked(environment: pytest.MonkeyPatch, asked: bool) -> None:
    if not asked:
        environment.delenv("ACCELERATE_USE_FSDP")
    arguments: Any = SimpleNamespace(distributed_state=SimpleNamespace(distributed_type=DistributedType.MULTI_CPU))
    shard_on_cpus(arguments)
    assert (arguments.distributed_state.distributed_type is DistributedType.MULTI_CPU) is not asked


def test_parameters_without_an_address_stay_what_they_are() -> None:
    weights = [torch.nn.Parameter(torch.empty(0)) for _ in range(3)]
    assert len({weight.data_ptr() for weight in weights}) == 1
    optimizer = torch.optim.AdamW([{"params": weights[:2]}, {"params": weights[2:]}])
    before = parameters_of(optimizer)
    for group in optimizer.param_groups:
        group["params"] = [weights[0] for _ in group["params"]]
    restore_parameters(optimizer, before)
    assert [id(weight) for group in optimizer.param_groups for weight in group["params"]] == list(map(id, weights))


def test_tied_weights_are_one_tensor_again() -> None:
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForMaskedLM(BertConfig(vocab_size=10, **shape))
    gathered = {name: weight.clone() for name, weight in model.state_dict().items()}
    tied = retied(model, gathered)
    assert tied.keys() == gathered.keys()
    decoder, words = tied["cls.predictions.decoder.weight"], tied["bert.embeddings.word_embeddings.weight"]
    assert decoder is words
    assert tied["cls.predictions.decoder.bias"] is tied["cls.predictions.bias"]
    assert all(torch.equal(tied[name], gathered[name]) for name in gathered)
