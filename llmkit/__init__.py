"""From raw text to a working BERT-class model: tokenize, pretrain, fine-tune, evaluate, ask."""

__version__ = "0.1.0"
