"""Classification and regression of texts."""
