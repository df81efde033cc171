"""The model card's Python example for question answering."""

from __future__ import annotations

from llmkit.tasks.values import Published


def usage_example(model: Published) -> str:
    """See Task."""
    abstain = ""
    if model.null_threshold is not None:
        abstain = f"""
    # The null threshold, tuned on one half of the validation data.
    if scores[0, 0] - scores[start, end] > {model.null_threshold!r}:
        return "", float(scores[0, 0])"""
    return f'''import regex
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

name = "{model.name}"  # or a folder with its files
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForQuestionAnswering.from_pretrained(name).eval()
SPACE = r"[\\s\\u200b\\u2060\\ufeff]*"  # also spaces without width


def answer(question, context):
    """The answer and its logit. Text beyond {model.data["max_length"]} tokens is ignored."""
    inputs = tokenizer(
        question, context, truncation="only_second", max_length={model.data["max_length"]},
        return_offsets_mapping=True, return_tensors="pt",
    )
    offsets = inputs.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        outputs = model(**inputs)
    # [first token, last token]. Both must be in the context, not white space, and in this order.
    scores = outputs.start_logits[0][:, None] + outputs.end_logits[0][None, :]
    inside = torch.tensor([
        part == 1 and not regex.fullmatch(SPACE, context[first:last])
        for part, (first, last) in zip(inputs.sequence_ids(0), offsets)
    ])
    allowed = (inside[:, None] & inside[None, :]).triu().tril({model.data["max_answer_length"] - 1})
    start, end = divmod(int(scores.masked_fill(~allowed, -torch.inf).argmax()), len(inside)){abstain}
    # Tokens may include the space before a word, and leave out accents: take whole characters (\\X).
    first, last = offsets[start][0], offsets[end][1]
    found = [m.group() for m in regex.finditer(r"\\X", context) if m.start() < last and m.end() > first]
    return regex.sub(f"^{{SPACE}}|{{SPACE}}$", "", "".join(found)), float(scores[start, end])


print(answer("Who founded Ambury?", "Ambury was founded by Tom Reed in 1820."))'''
