"""`llmkit audit`: doubts about a score, one part each: parts.py lists them, audited.py says what each is given."""
