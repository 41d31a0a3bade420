"""Units alive, budgets, scores and rankings, and what is done to the units that go: silenced, penalised, cut away."""
