"""The report's figures, one function each: findings (and a dataset) → a `Figure`, or None where there is nothing to show."""
