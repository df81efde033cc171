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
    return f'''import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

name = "{model.name}"  # or a folder with its files
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForQuestionAnswering.from_pretrained(name).eval()


def answer(question, context):
    """The answer and its logit. Text beyond {model.data["max_length"]} tokens is ignored."""
    inputs = tokenizer(
        question, context, truncation="only_second", max_length={model.data["max_length"]},
        return_offsets_mapping=True, return_tensors="pt",
    )
    offsets = inputs.pop("offset_mapping")[0]
    with torch.inference_mode():
        outputs = model(**inputs)
    # [first token, last token]. Both must be in the context, in this order.
    scores = outputs.start_logits[0][:, None] + outputs.end_logits[0][None, :]
    inside = torch.tensor([part == 1 for part in inputs.sequence_ids(0)])
    allowed = (inside[:, None] & inside[None, :]).triu().tril({model.data["max_answer_length"] - 1})
    start, end = divmod(int(scores.masked_fill(~allowed, -torch.inf).argmax()), len(inside)){abstain}
    return context[offsets[start][0] : offsets[end][1]], float(scores[start, end])


print(answer("Who founded Ambury?", "Ambury was founded by Tom Reed in 1820."))'''
