"""The rows of a split: which files hold them, and one reader per format."""
