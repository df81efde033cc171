"""`python -m llmkit`, which is what `torchrun -m llmkit` and `accelerate launch -m llmkit` start."""

from llmkit.cli.main import main

if __name__ == "__main__":
    main()
