"""Sharing models: model cards, and uploads to the Hub."""
