"""The demo's generated corpus and questions."""
