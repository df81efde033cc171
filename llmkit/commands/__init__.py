"""One file per command, read from top to bottom. `prepare` checks what a user can get wrong; then the command runs."""
