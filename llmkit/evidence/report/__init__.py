"""The report on a run: one page of sections, each a module with a function `section`."""
