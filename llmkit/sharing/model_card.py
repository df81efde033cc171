"""The model card: what a run knows of its model, as the Hub and its readers want it.

Everything in it is derived from what the run wrote down: recipe.yaml, env.json, metrics.json, log.jsonl and the
model's config.json. What the run does not know is named as unknown.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from llmkit.sharing.card_facts import Facts, facts_of
from llmkit.sharing.redact import CUT
from llmkit.sharing.usage_examples import pipeline_tag, with_llmkit, with_transformers
from llmkit.system.console import count, duration
from llmkit.system.run_folder import RunDir

NAMED = 20  # files of a corpus, or labels, before "and N more"
HUB = "https://huggingface.co"
DEMO = "llmkit's demo"
INTERVAL = "_interval"  # what follows the name of a score in that of its interval


def write_card(run: RunDir, scores: Mapping[str, Any]) -> None:
    """Write the card into the folder of a run's model, before its `scores`, which end it."""
    run.write_text("model/README.md", card_of(run, scores))


def card_of(run: RunDir, scores: Mapping[str, Any] | None = None) -> str:
    """The card of a finished run, or of one that `scores` are to end.

    NAMESPACE/NAME stands where the name of its repository will be.

    Raises UserError where a file of the run is damaged.
    """
    facts = facts_of(run, scores)
    parts = [
        f"---\n{_metadata(facts)}\n---",
        f"# {facts.recipe['name']}",
        *_introduction(facts),
        "## Scores",
        *_scores(facts),
        "## How to use it",
        *_usage(facts),
        "## Data",
        *_data(facts),
        "## Training",
        *_training(facts),
        *(part for base in _bases(facts) for part in _about(base)),
        "## Known limits",
        "\n".join(f"- {limit}" for limit in _limits(facts)),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(facts: Facts) -> str:
    """What the Hub reads: YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    tag = pipeline_tag(facts)
    on = facts.data_on_hub
    shown = facts.task.headline if facts.task else facts.scores
    results = [
        EvalResult(
            task_type=tag or "other",
            dataset_type=on or ("llmkit-demo" if facts.synthetic else "local"),
            dataset_name=on or (DEMO if facts.synthetic else "local files" if facts.task else "held-out text"),
            dataset_config=facts.data.get("name"),
            dataset_split=" and ".join(facts.task.splits("validation")) if facts.task else "validation",
            dataset_revision=facts.environment["hub"]["dataset"].get(on),
            metric_type=name,
            metric_name=name,
            metric_value=round(facts.scores[name], 4),
        )
        for name in shown
        if isinstance(facts.scores[name], float)
    ]
    languages = facts.languages
    card = ModelCardData(
        language=next(iter(languages)) if len(languages) == 1 else None,
        library_name="transformers",
        pipeline_tag=tag,
        base_model=facts.start_on_hub,
        datasets=facts.datasets or None,
        tags=["llmkit"],
        model_name=facts.recipe["name"],
        eval_results=results,
    )
    return str(card.to_yaml()).strip()


def _introduction(facts: Facts) -> Iterator[str]:
    config = facts.config
    halves = {"": config, " that read": config.get("encoder", {}), " that write": config.get("decoder", {})}
    shape = [
        f"{half['num_hidden_layers']} layer{'s' * (half['num_hidden_layers'] > 1)} of {half['hidden_size']}{does}"
        for does, half in halves.items()
        if "num_hidden_layers" in half and "hidden_size" in half
    ]
    if facts.task:
        yield f"{facts.task.title}."
    else:
        yield "A masked language model: it fills in words, and is there to be fine-tuned."
    yield (
        f"`{config['architectures'][0]}`, {', '.join([*shape, f'{count(facts.parameters)} parameters'])}; "
        f"{'fine-tuned' if facts.task else 'pretrained'} with llmkit from {_start(facts)}."
    )


def _start(facts: Facts) -> str:
    if facts.start is None:
        return "random weights"
    if facts.start_on_hub:
        return _on_hub("model", facts.start, facts)
    if facts.base:
        return f"{facts.base.recipe['name']}, of which below"
    return f"a checkpoint on the author's disk, `{facts.start}`"


def _on_hub(kind: str, name: str, facts: Facts) -> str:
    commit = facts.environment["hub"][kind].get(name)
    place = f"{HUB}/datasets/{name}" if kind == "dataset" else f"{HUB}/{name}"
    return f"[{name}]({place})" + (f" at commit `{commit[:10]}`" if commit else "")


def _scores(facts: Facts) -> Iterator[str]:
    """Every number of metrics.json, those inside others under both names."""

    def rows(scores: Mapping[str, Any], outer: str) -> Iterator[list[str]]:
        for name, value in scores.items():
            if isinstance(value, dict):
                yield from rows(value, f"{outer}{name}.")
            elif isinstance(value, float | int):
                ends = scores.get(f"{name}{INTERVAL}")
                number = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
                yield [f"{outer}{name}", number, f"{ends[0]:,.2f} to {ends[1]:,.2f}" if ends else ""]

    if facts.task:
        threshold = ", the threshold is a difference of logits" if facts.null_threshold is not None else ""
        yield f"On the validation split, in percent{threshold}. Whole numbers are counts."
    else:
        yield "On documents that were held out. The loss is in nats a masked token. Whole numbers are counts."
    yield _table(["score", "value", "95 % interval"], rows(facts.scores, ""))


def _usage(facts: Facts) -> Iterator[str]:
    yield f"With transformers alone:\n\n```python\n{with_transformers(facts)}\n```"
    yield f"With llmkit:\n\n```sh\n{with_llmkit(facts)}\n```"


def _data(facts: Facts) -> Iterator[str]:
    sizes, prints = facts.environment["sizes"], facts.environment["data"]
    units = list(dict.fromkeys(unit for size in sizes.values() for unit in size))
    counts = {split: [f"{size[unit]:,}" for unit in units] for split, size in sizes.items()}
    if not facts.task:
        yield "\n".join(f"- {_source(source, facts)}" for source in facts.corpus)
        yield _table(["split", *units], ([split, *row] for split, row in counts.items()))
        return
    if facts.data_on_hub:
        config = f", configuration `{facts.data['name']}`" if "name" in facts.data else ""
        yield f"{_on_hub('dataset', facts.data_on_hub, facts)}{config}."
    elif facts.synthetic:
        yield f"{DEMO} questions."
    else:
        files = [f"`{facts.data[split]}` ({split})" for split in sizes if split in facts.data]
        yield f"Local files: {', '.join(files) or '`' + facts.data['path'] + '`'}."
    rows = ([split, *row, f"`{prints[split]}`"] for split, row in counts.items())
    yield _table(["split", *units, "fingerprint"], rows)
    yield "A fingerprint is a hash of the examples: the same data give the same."
    labels = list(facts.config.get("id2label", {}).values())
    if facts.task.labelled and len(labels) > 1:  # one alone is a number
        more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
        yield f"Labels: {', '.join(f'`{label}`' for label in labels[:NAMED])}{more}."


def _source(source: Mapping[str, Any], facts: Facts) -> str:
    weight = f", weight {source['weight']:g}" if source["weight"] != 1 else ""
    if "demo" in source:
        return f"{DEMO} articles{weight}"
    if "commit" in source:
        config = f", configuration `{source['name']}`" if source["name"] else ""
        name, commit = source["path"], source["commit"]
        return f"[{name}]({HUB}/datasets/{name}){config}, split `{source['split']}`, commit `{commit[:10]}`{weight}"
    files = [f"`{name}` (fingerprint `{print}`)" for name, print in source["files"]]
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return f"local files: {', '.join(files[:NAMED])}{more}{weight}"


def _training(facts: Facts) -> Iterator[str]:
    environment, train, last = facts.environment, facts.recipe["train"], facts.log[-1]
    size, accumulated = train["per_device_train_batch_size"], train["gradient_accumulation_steps"]
    processes = environment["processes"]
    shared = f"{size} × {accumulated} accumulated × {processes} process{'es' if processes > 1 else ''}"
    yield (
        f"{last['step']:,} steps of {size * accumulated * processes:,} {'examples' if facts.task else 'blocks'} "
        f"({shared}), {last['epoch']:.2f} epochs, in "
        f"{duration(last['seconds'])}, evaluations included."
    )
    hardware = environment["hardware"]
    gpus = f"{', '.join(hardware['gpus'])}; " if hardware["gpus"] else ""
    yield f"On {gpus}{hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gb']:.0f} GB."
    yield f"With {', '.join(f'{name} {version}' for name, version in environment['versions'].items())}."
    program, *arguments = environment["command"]
    program = "llmkit" if Path(program).name == "__main__.py" else Path(program).name
    recipe = yaml.safe_dump(facts.recipe, sort_keys=False, allow_unicode=True)
    yield f"```sh\n{shlex.join([program, *arguments])}\n```"
    if CUT in recipe or any(CUT in argument for argument in arguments):
        yield f"Paths on the author's machine are cut to `{CUT}/` and their last part."
    again = f"llmkit {'finetune' if facts.task else 'pretrain'} -r FILE"
    yield f"<details><summary>The recipe, resolved: <code>{again}</code> repeats the run</summary>"
    yield f"```yaml\n{recipe}```\n\n</details>"


def _bases(facts: Facts) -> Iterator[Facts]:
    """The runs that came before, the latest first."""
    if facts.base:
        yield facts.base
        yield from _bases(facts.base)


def _about(base: Facts) -> Iterator[str]:
    yield f"## Before that: {base.recipe['name']}"
    yield from _introduction(base)
    yield from _data(base)
    yield from _training(base)


def _limits(facts: Facts) -> Iterator[str]:
    if facts.tasks_file:
        yield f"Its task is defined in `{facts.tasks_file}`, a file of its author's that llmkit needs to use it."
    if facts.synthetic:
        yield "Its data are synthetic: articles about things that do not exist. Its scores say nothing about real text."
    elif any(base.synthetic for base in _bases(facts)):
        yield "The checkpoint that it started from was trained on synthetic data."
    if None in facts.languages:
        yield "The run does not know the language of all of its data."
    yield "No licence is stated: the run knows neither that of its data nor that of the weights that it started from."
    if facts.task and facts.start is None:
        yield "It started from random weights, without pretraining."
    if facts.start and not facts.start_on_hub and not facts.base:
        yield "What the checkpoint that it started from was trained on is not recorded here."
    prints = facts.environment["data"]
    if facts.task and prints["train"] == prints["validation"]:
        yield "**It was trained on the very examples that its scores are of.**"
    metric, evaluations = facts.selection()
    if evaluations > 1:
        yield (
            f"It is the checkpoint with the best `{metric}` of {evaluations} evaluations on the validation split, and "
            "its scores are of that split too: on data that nothing was chosen by they may be lower."
        )
    intervals = [value for name, value in facts.scores.items() if name.endswith(INTERVAL)]
    if any(intervals):
        yield (
            "Intervals are bootstrap intervals over groups of examples that belong together, such as the questions on "
            "a paragraph. With fewer than some 30 groups they are somewhat too narrow."
        )
    if not all(intervals):
        yield "A score has no interval where all examples are of one group."
    yield f"It is one run with one seed ({facts.recipe['train']['seed']}); another seed gives other scores."
    length = facts.data["max_length"] if facts.task else facts.recipe["corpus"]["block_size"]
    most = f", and takes {facts.positions} at most" if facts.positions else ""
    yield f"It was trained on inputs of up to {length} tokens{most}."
    if not facts.task:
        yield "It was trained to fill in masked words alone, without next-sentence prediction."


def _table(columns: list[str], rows: Iterator[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
