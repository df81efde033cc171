"""The command line: each command parses its arguments and calls one function. Slow imports wait until a command runs."""
