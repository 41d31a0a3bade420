"""The report's figures, one function each: an analysis (and a dataset) → a `Figure`, or None where there is nothing to show."""
