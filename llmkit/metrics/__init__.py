"""Scores: functions per question that import nothing heavy, and `evaluate` metrics that need no network."""
