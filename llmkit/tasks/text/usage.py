"""The model card's Python example for text generation."""

from __future__ import annotations

from llmkit.corpus.tokenizer import DECODER_TOKENIZER
from llmkit.tasks.values import Published


def usage_example(model: Published) -> str:
    """See Task."""
    separate = model.has_decoder_tokenizer
    decoder = f'AutoTokenizer.from_pretrained(name, subfolder="{DECODER_TOKENIZER}")' if separate else "tokenizer"
    return f'''from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

name = "{model.name}"  # or a folder with its files
tokenizer = AutoTokenizer.from_pretrained(name)
decoder_tokenizer = {decoder}
model = AutoModelForSeq2SeqLM.from_pretrained(name).eval()

source = {model.data.get("source_prefix", "") + "A text."!r}
inputs = tokenizer(source, truncation=True, max_length={model.data["max_length"]}, return_tensors="pt")
generated = model.generate(**inputs, max_new_tokens={model.data["max_target_length"]})
print(decoder_tokenizer.decode(generated[0], skip_special_tokens=True))'''
