# ruff: noqa: E501 - a case a line
"""Recipes, overrides, run folders and models that are wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

TUNE = ["finetune", "-r", "good.yaml"]
TRAIN = ["pretrain", "-r", "tiny/pretrain"]

CASES: dict[str, tuple[list[str], list[str]]] = {
    "unknown key": (["finetune", "-r", "typo.yaml"], ["typo.yaml:7: train.learning_rat: unknown key (did you mean learning_rate?)"]),
    "all problems": (["finetune", "-r", "typo.yaml"], ["typo.yaml:8: train.seed: should be a valid integer, got False", "2 problems"]),
    "override type": ([*TUNE, "train.max_steps=ten"], ["override train.max_steps=ten: train.max_steps: should be a valid integer"]),
    "override form": ([*TUNE, "train.max_steps"], ["override train.max_steps: not of the form section.key=value"]),
    "no effect": ([*TRAIN, "corpus.path=x", "corpus.tokenizer.vocab_size=900"], ["tokenizer has no effect with path"]),
    "broken recipe": (["finetune", "-r", "yaml.yaml"], ["yaml.yaml:3: not valid YAML"]),
    "wrong task": (["finetune", "-r", "task.yaml"], ["task.yaml:2: task: unknown task (did you mean squad?)"]),
    "wrong task option": (["finetune", "--task", "squat"], ["unknown task 'squat' (did you mean squad?)"]),
    "task of another recipe": ([*TUNE, "--task", "classification"], ["override task=classification: the recipe is for squad", "Choose a recipe for classification, or use its default recipe: llmkit finetune --task classification"]),
    "task of another kind": ([*TUNE, "task=glue/cola"], ["override task=glue/cola: the recipe is for squad"]),
    "no task": (["finetune"], ["neither a task nor a recipe is given"]),
    "no recipe": (["pretrain", "-r", "bert-minni"], ["no recipe named 'bert-minni' (did you mean bert-mini?)"]),
    "no recipe file": (["pretrain", "-r", "mine.yaml"], ["no recipe file mine.yaml"]),
    "vocabulary": ([*TUNE, "model.pretrained=small-vocabulary"], ["the vocabulary of small-vocabulary only 20"]),
    "pickle": ([*TUNE, "model.pretrained=pickled"], ["pickled cannot be loaded", "safetensors"]),
    "no checkpoint": ([*TUNE, "model.pretrained=nothing"], ["nothing holds neither a run nor a checkpoint"]),
    "no such model": ([*TUNE, "model.pretrained=./none"], ["no such run or checkpoint: ./none"]),
    "folder in use": ([*TUNE, "-o", "nothing"], ["nothing is in use", "another folder with -o"]),
    "finished": ([*TUNE, "-o", "finished"], ["finished holds a finished run"]),
    "resume nothing": ([*TUNE, "--resume", "-o", "nothing"], ["nothing is in use"]),
    "resume finished": ([*TUNE, "--resume", "-o", "finished"], ["finished was started with another recipe"]),
    "resume another": ([*TUNE, "--resume", "-o", "started"], ["started was started with another recipe", "name was 'other', is 'x'"]),
    "unwritable": ([*TUNE, "-o", "one.txt/run"], ["cannot write to one.txt/run: Not a directory"]),
    "model off the hub": ([*TUNE, "model.pretrained=some/model"], ["cannot be reached, and some/model was not downloaded"]),
    "copy to nowhere": (["recipes", "copy", "bert-mini", "/proc/mine.yaml"], ["cannot write /proc/mine.yaml"]),
    "alias": (["finetune", "-r", "alias.yaml"], ["alias.yaml: *a: aliases are not supported"]),
    "bf16": ([*TUNE, "train.bf16=maybe"], ["override train.bf16=maybe: train.bf16: should be True, False or 'auto', got 'maybe'", "1 problem;"]),
    "recipe empty": (["pretrain", "-r", "empty.yaml"], ["empty.yaml: not a mapping"]),
    "recipe list": (["pretrain", "-r", "list.yaml"], ["list.yaml: not a mapping"]),
    "recipe bytes": (["pretrain", "-r", "binary.yaml"], ["binary.yaml: not UTF-8 text (byte 5)"]),
    "recipe key twice": (["pretrain", "-r", "twice.yaml"], ["twice.yaml:2: name: duplicate key", "corpus: missing"]),
    "recipe of another command": (["finetune", "-r", "early.yaml"], ["early.yaml:3: corpus: unknown key", "task: missing"]),
    "recipe checked": (["recipes", "check", "typo.yaml"], ["typo.yaml:7: train.learning_rat", "2 problems"]),
    "recipe to copy": (["recipes", "copy", "bert-minni"], ["no recipe named 'bert-minni' (did you mean bert-mini?)"]),
    "recipe to show": (["recipes", "show", "none.yaml"], ["no recipe file none.yaml"]),
    **{
        f"override {override}": ([*TRAIN, override], [told])
        for override, told in {
            "train.learning_rate=2": "train.learning_rate: should be less than 1",
            "train.learning_rate=.nan": "train.learning_rate: should be",
            "train.learning_rate=1e-4x": "train.learning_rate: should be a valid number",
            "train.per_device_train_batch_size=0": "should be greater than 0",
            "train.per_device_train_batch_size=2.5": "should be a valid integer",
            "train.eval_steps=0": "train.eval_steps: should be greater than 0",
            "train.eval_steps=1.0": "train.eval_steps: should be a whole number of steps, or a fraction of the run below 1",
            "train.logging_steps=2.5": "train.logging_steps: should be a whole number of steps, or a fraction",
            "train.warmup_steps=-1": "train.warmup_steps: should be greater than or equal to 0",
            "train.save_steps=often": "train.save_steps: should be a whole number of steps, or a fraction of the run below 1",
            "train.seed=-1": "train.seed: should be greater than or equal to 0",
            "train.seed=true": "train.seed: should be a valid integer",
            "train.time_budget=ten minutes": "train.time_budget: should be a time such as 90s, 30m or 1h30m",
            "train.lr_scheduler_type=polynomial": "train.lr_scheduler_type: should be 'linear', 'cosine' or 'constant'",
            "train.adam_beta2=1.5": "train.adam_beta2: should be less than or equal to 1",
            "train.torch_compile=maybe": "train.torch_compile: should be a valid boolean",
            "train.save_total_limit=0": "train.save_total_limit: should be greater than or equal to 1",
            "train=fast": "train: should be a valid dictionary",
            "train.seed.x=1": "train.seed",
            "trian.seed=1": "trian: unknown key (did you mean train?)",
            "=3": "not of the form section.key=value",
            "train.seed=[": "the value is not valid YAML",
            "name=7": "name: should be a valid string",
            "corpus.block_size=4": "corpus.block_size: should be greater than or equal to 8",
            **{
                f"corpus.mlm_probability={value}": "corpus.mlm_probability: should be a number between 0 and 1, or two"
                for value in ("0", "1.0", "often", "true", "[0.3]", "[0.3, 2.0]", "[0.3, 0.2, 0.1]")
            },
            "corpus.eval_mlm_probability=0": "corpus.eval_mlm_probability: should be greater than 0",
            "corpus.sources=[]": "sources is empty",
            "corpus.sources=books": "corpus.sources: should be a valid list",
            "model.config.hidden_size=65": "hidden_size 65 is not divisible by num_attention_heads 2",
            "model.config.hidden_act=swish": "model.config.hidden_act: should be",
            "model.config.hidden_siz=64": "unknown key (did you mean hidden_size?)",
        }.items()
    },
    "warm-up of a budget": ([*TRAIN, "train.time_budget=1m", "train.warmup_steps=10"], ["with time_budget, warmup_steps must be a fraction"]),
    "shape without tokenizer": ([*TUNE, "model.config={}"], ["config needs a tokenizer: model.tokenizer=HUB_ID_OR_FOLDER"]),
    "dropout beside shape": ([*TUNE, "model.config={}", "model.tokenizer=encoder", "model.attention_probs_dropout_prob=0.1"], ["attention_probs_dropout_prob has no effect with config"]),
    "tokenizer beside checkpoint": ([*TUNE, "model.tokenizer=encoder"], ["tokenizer has no effect with pretrained"]),
    **{
        f"checkpoint {name}": (["eval", name, "--task", "squad", "--data", "good.jsonl"], [name, *told])
        for name, told in {
            "truncated": ["cannot be loaded"],
            "garbled": ["cannot be loaded"],
            "weightless": ["cannot be loaded"],
            "shapeless": ["cannot be loaded"],
            "configless": ["cannot be loaded"],
            "unknown": ["cannot be loaded"],
            "tokenless": ["the tokenizer of tokenless has no vocabulary"],
            "mistokened": ["no tokenizer could be loaded"],
        }.items()
    },
    "another architecture": ([*TRAIN, "corpus.sources=[{path: many.txt, documents: blank_line}]", "corpus.tokenizer.vocab_size=100", "model.pretrained=gpt"], ["gpt is a gpt2 model", "Continue from a BERT model"]),
    "copy over": (["recipes", "copy", "bert-mini", "good.yaml"], ["good.yaml already exists"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_message_and_nothing_changed(case: str, refused: Callable[[list[str], list[str]], None]) -> None:
    refused(*CASES[case])
