"""One module per command: `prepare` finds and checks the inputs, then the command does its work."""
