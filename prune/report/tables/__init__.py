"""The report's tables, one function each: findings (and a dataset) → a `Table`, or None where there is nothing to show."""
