"""What defends a score: comparisons, and what lies behind it."""
