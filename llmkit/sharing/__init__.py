"""What leaves this machine: model cards, uploads to the Hub."""
