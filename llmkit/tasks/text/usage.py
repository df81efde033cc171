"""Generating texts with a published model, by transformers alone."""

from __future__ import annotations

from llmkit.corpus.tokenizer import DECODER_TOKENIZER
from llmkit.tasks.values import Published


def usage_example(model: Published) -> str:
    """See Task."""
    apart = model.has_decoder_tokenizer
    writer = f'AutoTokenizer.from_pretrained(name, subfolder="{DECODER_TOKENIZER}")' if apart else "tokenizer"
    return f'''from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

name = "{model.name}"  # or a folder that holds its files
tokenizer = AutoTokenizer.from_pretrained(name)
writer = {writer}
model = AutoModelForSeq2SeqLM.from_pretrained(name).eval()

source = {model.data.get("source_prefix", "") + "A text."!r}
inputs = tokenizer(source, truncation=True, max_length={model.data["max_length"]}, return_tensors="pt")
written = model.generate(**inputs, max_new_tokens={model.data["max_target_length"]})
print(writer.decode(written[0], skip_special_tokens=True))'''
