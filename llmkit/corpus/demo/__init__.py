"""The embedded corpus and questions, and the command that runs the whole flow on them."""
