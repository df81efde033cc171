"""The command line: parse the arguments, call one function. Slow imports wait until a command runs."""
