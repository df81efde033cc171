"""How the model of a card is loaded and used: with transformers alone, and with llmkit.

Each text is pasted as it is by somebody who has only that: it must work.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import yaml

from llmkit.corpus.tokenizer import DECODER_TOKENIZER
from llmkit.sharing.card_facts import Facts
from llmkit.tasks import task_named

NAME = "NAMESPACE/NAME"  # what a card calls its repository until it is pushed, when that has a name
OUTPUT = "predictions.jsonl"


def _spans(facts: Facts) -> str:
    abstain = ""
    if facts.null_threshold is not None:
        abstain = f"""
    # The null threshold that was tuned on one half of the validation data.
    if scores[0, 0] - scores[start, end] > {facts.null_threshold!r}:
        return "", float(scores[0, 0])"""
    return f'''import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

name = "{NAME}"  # or a folder that holds its files
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForQuestionAnswering.from_pretrained(name).eval()


def answer(question, context):
    """The answer and its logit. What does not fit into {facts.data["max_length"]} tokens is not read."""
    inputs = tokenizer(
        question, context, truncation="only_second", max_length={facts.data["max_length"]},
        return_offsets_mapping=True, return_tensors="pt",
    )
    offsets = inputs.pop("offset_mapping")[0]
    with torch.inference_mode():
        outputs = model(**inputs)
    # [first token, last token]; both in the context, the last not before the first.
    scores = outputs.start_logits[0][:, None] + outputs.end_logits[0][None, :]
    inside = torch.tensor([part == 1 for part in inputs.sequence_ids(0)])
    allowed = (inside[:, None] & inside[None, :]).triu().tril({facts.data["max_answer_length"] - 1})
    start, end = divmod(int(scores.masked_fill(~allowed, -torch.inf).argmax()), len(inside)){abstain}
    return context[offsets[start][0] : offsets[end][1]], float(scores[start, end])


print(answer("Who founded Ambury?", "Ambury was founded by Tom Reed in 1820."))'''


def _labels(facts: Facts) -> str:
    number = len(facts.config.get("id2label", ())) == 1  # which is no probability
    raw = ', function_to_apply="none"' if number else ""
    return f'''from transformers import pipeline

classify = pipeline("text-classification", model="{NAME}")  # or a folder that holds its files
text = "A text."  # of a pair of texts: {{"text": "The first.", "text_pair": "The second."}}
print(classify(text, truncation=True, max_length={facts.data["max_length"]}{raw}))'''


def _tags(facts: Facts) -> str:
    return f'''from transformers import pipeline

tag = pipeline("token-classification", model="{NAME}")  # or a folder that holds its files
for found in tag("Tom Reed founded Ambury in 1820."):
    print(found["word"], found["entity"], round(float(found["score"]), 3))'''


def _texts(facts: Facts) -> str:
    apart = (facts.model / DECODER_TOKENIZER).is_dir()
    writer = f'AutoTokenizer.from_pretrained(name, subfolder="{DECODER_TOKENIZER}")' if apart else "tokenizer"
    return f'''from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

name = "{NAME}"  # or a folder that holds its files
tokenizer = AutoTokenizer.from_pretrained(name)
writer = {writer}
model = AutoModelForSeq2SeqLM.from_pretrained(name).eval()

source = {facts.data.get("source_prefix", "") + "A text."!r}
inputs = tokenizer(source, truncation=True, max_length={facts.data["max_length"]}, return_tensors="pt")
written = model.generate(**inputs, max_new_tokens={facts.data["max_target_length"]})
print(writer.decode(written[0], skip_special_tokens=True))'''


def _masked(facts: Facts) -> str:
    return f'''from transformers import pipeline

fill = pipeline("fill-mask", model="{NAME}")  # or a folder that holds its files
for found in fill(f"The {{fill.tokenizer.mask_token}} is old."):
    print(round(found["score"], 3), found["sequence"])'''


# What the Hub calls what models of a head do, and the lines of Python that make them do that.
HEADS: dict[str, tuple[str, Callable[[Facts], str]]] = {
    "span": ("question-answering", _spans),
    "label": ("text-classification", _labels),
    "tags": ("token-classification", _tags),
    "text": ("text-generation", _texts),
    "masked": ("fill-mask", _masked),
}


def pipeline_tag(facts: Facts) -> str:
    """What the Hub calls what the model does."""
    kind = task_named(facts.task).title.partition(":")[0].lower() if facts.task else ""
    return kind if kind in ("translation", "summarization") else HEADS[facts.head][0]


def commands(facts: Facts) -> str:
    """The lines of a shell that use the model with llmkit."""
    if not facts.task:
        # Questions and passages take windows of 384 tokens unless told otherwise.
        fits = facts.positions is None or facts.positions >= 384
        windows = "" if fits else f" data.max_length={facts.positions} data.doc_stride={(facts.positions or 0) // 3}"
        return f"llmkit finetune --task squad model.pretrained={NAME}{windows}"
    # How data is read goes with the model; the places that a command names, and a database's, do not.
    score = ["llmkit", "eval", NAME, "--data", facts.data_on_hub or "FILE"]
    if facts.data_on_hub:
        score += [_override(f"data.{key}", facts.data[key]) for key in ("name", "revision") if key in facts.data]
    if "database" in facts.data:
        score.append(_override("data.database", facts.data["database"]))
    lines = [shlex.join(score)]
    if facts.head == "span":
        lines.append(f'llmkit ask {NAME} -q "Who founded Ambury?" -c "Ambury was founded by Tom Reed in 1820."')
    else:
        lines.append(shlex.join(["llmkit", "predict", NAME, "FILE", "-o", OUTPUT]))
    return "\n".join(lines)


def _override(key: str, value: Any) -> str:
    """A key and its value as a command takes them: what YAML would not read as this text, it is shown as text."""
    plain = not isinstance(value, str) or yaml.safe_load(value) == value
    return f"{key}={value if plain else json.dumps(value)}"
