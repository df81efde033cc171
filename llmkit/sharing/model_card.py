"""The model card: a README with metadata for the Hub.

Everything in it comes from files of the run: recipe.yaml, env.json, metrics.json, log.jsonl and the model's
config.json. The card says so if something is unknown.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from llmkit.sharing.audit_section import with_audit
from llmkit.sharing.card_facts import Facts, facts_of
from llmkit.sharing.redact import CUT
from llmkit.sharing.usage_examples import pipeline_tag, with_llmkit, with_transformers
from llmkit.system.console import count, duration
from llmkit.system.run_folder import RunDir

HELD_OUT = ("loss", "perplexity")  # of a pretraining run's own corpus
LISTED = 20  # files of a corpus, or labels, before "and N more"
HUB = "https://huggingface.co"
DEMO = "llmkit's demo"
INTERVAL = "_interval"  # suffix of a score's name in metrics.json that names its confidence interval


def write_card(run: RunDir, scores: Mapping[str, Any]) -> None:
    """Write the card to the model folder. `scores` are the contents of metrics.json, which is written after it."""
    run.write_text("model/README.md", card_of(run, scores))


def card_of(run: RunDir, scores: Mapping[str, Any] | None = None) -> str:
    """The card of a finished run, or of a run that is about to write `scores` to metrics.json.

    NAMESPACE/NAME stands for the name of its repository. Raises UserError if a file of the run is damaged.
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
    card = "\n\n".join(parts) + "\n"
    return card if scores is not None else with_audit(card, run)  # new scores are of a model that no audit has seen


def _metadata(facts: Facts) -> str:
    """The YAML metadata that the Hub reads."""
    from huggingface_hub import EvalResult, ModelCardData

    tag = pipeline_tag(facts)
    dataset = facts.data_on_hub
    shown = facts.task.headline if facts.task else HELD_OUT  # not of further corpora, which were chosen to compare with
    results = [
        EvalResult(
            task_type=tag or "other",
            dataset_type=dataset or ("llmkit-demo" if facts.synthetic else "local"),
            dataset_name=dataset or (DEMO if facts.synthetic else "local files" if facts.task else "held-out text"),
            dataset_config=facts.data.get("name"),
            dataset_split=" and ".join(facts.task.splits("validation")) if facts.task else "validation",
            dataset_revision=facts.environment["hub"]["dataset"].get(dataset),
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
        library_name="sentence-transformers" if tag == "sentence-similarity" else "transformers",
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
    parts = {"": config, "encoder ": config.get("encoder", {}), "decoder ": config.get("decoder", {})}
    shape = [
        f"{part['num_hidden_layers']} {role}layer{'s' * (part['num_hidden_layers'] > 1)} of size {part['hidden_size']}"
        for role, part in parts.items()
        if "num_hidden_layers" in part and "hidden_size" in part
    ]
    if facts.task:
        yield f"{facts.task.title}."
    else:
        yield "A masked language model. It fills in masked words, and is meant to be fine-tuned."
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
        return f"{facts.base.recipe['name']} (described below)"
    return f"a local checkpoint, `{facts.start}`"


def _on_hub(kind: str, name: str, facts: Facts) -> str:
    commit = facts.environment["hub"][kind].get(name)
    place = f"{HUB}/datasets/{name}" if kind == "dataset" else f"{HUB}/{name}"
    return f"[{name}]({place})" + (f" at commit `{commit[:10]}`" if commit else "")


def _scores(facts: Facts) -> Iterator[str]:
    """A table of all numbers in metrics.json. Nested ones have dotted names."""

    def rows(scores: Mapping[str, Any], prefix: str) -> Iterator[list[str]]:
        for name, value in scores.items():
            if isinstance(value, dict):
                yield from rows(value, f"{prefix}{name}.")
            elif isinstance(value, float | int):
                number = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
                yield [f"{prefix}{name}", number, beside(name, scores)]

    def beside(name: str, scores: Mapping[str, Any]) -> str:
        if facts.scores_of_start:
            return f"{facts.scores_of_start[name]:,.2f}" if name in facts.scores_of_start else ""
        ends = scores.get(f"{name}{INTERVAL}")
        return f"{ends[0]:,.2f} to {ends[1]:,.2f}" if ends else ""

    if facts.task:
        threshold = " The threshold is a difference of logits." if facts.null_threshold is not None else ""
        if isinstance(facts.null_threshold, dict):
            threshold = " Thresholds are probabilities."
        yield f"On the validation split, {facts.task.score_unit}. Whole numbers are counts.{threshold}"
    else:
        names = " and ".join(f"`{name}_…`" for name in facts.also_evaluated)
        further = f" {names} are of further text, listed below." if names else ""
        yield f"On held-out documents. The loss is in nats per masked token. Whole numbers are counts.{further}"
    third = "before the first step" if facts.scores_of_start else "95 % interval"
    yield _table(["score", "value", third], rows(facts.scores, ""))
    # How texts were compared, for instance sacrebleu's signature.
    if told := [f"- {name}: `{value}`" for name, value in facts.scores.items() if isinstance(value, str)]:
        yield "\n".join(told)


def _usage(facts: Facts) -> Iterator[str]:
    yield f"With transformers alone:\n\n```python\n{with_transformers(facts)}\n```"
    yield f"With llmkit:\n\n```sh\n{with_llmkit(facts)}\n```"


def _data(facts: Facts) -> Iterator[str]:
    sizes, fingerprints = facts.environment["sizes"], facts.environment["data"]
    units = list(dict.fromkeys(unit for size in sizes.values() for unit in size))
    counts = {split: [f"{size[unit]:,}" for unit in units] for split, size in sizes.items()}
    if not facts.task:
        yield "\n".join(f"- {_source(source, facts)}" for source in facts.corpus)
        yield _table(["split", *units], ([split, *row] for split, row in counts.items()))
        for name, sources in facts.also_evaluated.items():
            yield f"Also evaluated, as `{name}`: {'; '.join(_source(source, facts) for source in sources)}."
        return
    if facts.data_on_hub:
        config = f", configuration `{facts.data['name']}`" if "name" in facts.data else ""
        yield f"{_on_hub('dataset', facts.data_on_hub, facts)}{config}."
    elif facts.synthetic:
        yield f"{DEMO} questions."
    else:
        files = [f"{_files(facts.data[split])} ({split})" for split in sizes if split in facts.data]
        yield f"Local files: {', '.join(files) or _files(facts.data['path'])}."
    rows = ([split, *row, f"`{fingerprints[split]}`"] for split, row in counts.items())
    yield _table(["split", *units, "fingerprint"], rows)
    yield "A fingerprint is a hash of the examples. The same data gives the same fingerprint."
    labels = list(facts.config.get("id2label", {}).values())
    if facts.task.labelled and len(labels) > 1:  # a single label means regression
        more = f" and {len(labels) - LISTED} more" if len(labels) > LISTED else ""
        yield f"Labels: {', '.join(f'`{label}`' for label in labels[:LISTED])}{more}."


def _files(given: str | list[str]) -> str:
    names = [given] if isinstance(given, str) else given
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(f"`{name}`" for name in names[:LISTED]) + more


def _source(source: Mapping[str, Any], facts: Facts) -> str:
    weight = f", weight {source['weight']:g}" if source["weight"] != 1 else ""
    if "demo" in source:
        return f"{DEMO} articles{weight}"
    if "commit" in source:
        config = f", configuration `{source['name']}`" if source["name"] else ""
        name, commit = source["path"], source["commit"]
        return f"[{name}]({HUB}/datasets/{name}){config}, split `{source['split']}`, commit `{commit[:10]}`{weight}"
    files = [f"`{name}` (fingerprint `{print}`)" for name, print in source["files"]]
    more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
    return f"local files: {', '.join(files[:LISTED])}{more}{weight}"


def _training(facts: Facts) -> Iterator[str]:
    environment, train, last = facts.environment, facts.recipe["train"], facts.log[-1]
    size, accumulated = train["per_device_train_batch_size"], train["gradient_accumulation_steps"]
    processes = environment["processes"]
    factors = f"{size} × {accumulated} accumulated × {processes} process{'es' if processes > 1 else ''}"
    yield (
        f"{last['step']:,} steps of {size * accumulated * processes:,} {'examples' if facts.task else 'blocks'} "
        f"({factors}), {last['epoch']:.2f} epochs, in "
        f"{duration(last['seconds'])}, including evaluation."
    )
    if (teacher := facts.recipe["model"].get("teacher")) is not None:
        yield f"It learned from the outputs of `{teacher}` (weights with the hash `{environment['data']['teacher']}`)."
    hardware = environment["hardware"]
    gpus = f"{', '.join(hardware['gpus'])}; " if hardware["gpus"] else ""
    yield f"Hardware: {gpus}{hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gb']:.0f} GB."
    yield f"Software: {', '.join(f'{name} {version}' for name, version in environment['versions'].items())}."
    program, *arguments = environment["command"]
    program = "llmkit" if Path(program).name == "__main__.py" else Path(program).name
    recipe = yaml.safe_dump(facts.recipe, sort_keys=False, allow_unicode=True)
    yield f"```sh\n{shlex.join([program, *arguments])}\n```"
    if CUT in recipe or any(CUT in argument for argument in arguments):
        yield f"Paths on the author's machine are shortened to `{CUT}/` and their last part."
    command = f"llmkit {'finetune' if facts.task else 'pretrain'} -r FILE"
    yield f"<details><summary>Resolved recipe. To repeat the run: <code>{command}</code></summary>"
    yield f"```yaml\n{recipe}```\n\n</details>"


def _bases(facts: Facts) -> Iterator[Facts]:
    """The earlier runs that this one builds on, latest first."""
    if facts.base:
        yield facts.base
        yield from _bases(facts.base)


def _about(base: Facts) -> Iterator[str]:
    yield f"## Earlier run: {base.recipe['name']}"
    yield from _introduction(base)
    yield from _data(base)
    yield from _training(base)


def _limits(facts: Facts) -> Iterator[str]:
    if facts.tasks_file:
        yield f"Its task is defined in `{facts.tasks_file}`, a file of its author's that llmkit needs to use it."
    if facts.synthetic:
        yield "The data is synthetic: articles about things that do not exist. The scores say nothing about real text."
    elif any(base.synthetic for base in _bases(facts)):
        yield "The checkpoint that it started from was trained on synthetic data."
    if None in facts.languages:
        yield "The language of some of the data is unknown."
    yield "No license is given: the licenses of the data and of the initial weights were not recorded."
    if facts.task and facts.start is None:
        yield "It started from random weights, without pretraining."
    if facts.start and not facts.start_on_hub and not facts.base:
        yield "The training data of the checkpoint that it started from is unknown."
    fingerprints = facts.environment["data"]
    if facts.task and fingerprints["train"] == fingerprints["validation"]:
        yield "**The training and validation examples are the same, so the scores do not show how it generalizes.**"
    metric, evaluations = facts.selection()
    if evaluations > 1:
        yield (
            f"It is the checkpoint with the best `{metric}` of {evaluations} evaluations on the validation split, and "
            "the scores are from the same split. Expect lower scores on new data."
        )
    intervals = [value for name, value in facts.scores.items() if name.endswith(INTERVAL)]
    if any(intervals):
        yield (
            "Intervals are bootstrap intervals over groups of related examples, such as the questions about one "
            "paragraph. With fewer than about 30 groups they are too narrow."
        )
    if not all(intervals):
        yield "A score has no interval if all examples belong to one group."
    yield f"It is a single run with one seed ({facts.recipe['train']['seed']}). Another seed gives different scores."
    length = facts.data["max_length"] if facts.task else facts.recipe["corpus"]["block_size"]
    most = f" and accepts at most {facts.positions}" if facts.positions else ""
    yield f"It was trained on inputs of up to {length} tokens{most}."
    if not facts.task:
        yield "It was trained on masked words only, without next-sentence prediction."


def _table(columns: list[str], rows: Iterator[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
