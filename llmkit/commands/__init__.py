"""One story a command: `prepare` finds and checks what a user can get wrong, then the work is done."""
