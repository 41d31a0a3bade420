"""Runs on disk → tables, figures, flagged anomalies and conclusions, as one page. No torch; nothing is trained or loaded.

The story is in command.py: load.py reads the runs into a study, variants.py groups them, compare.py says who is compared with
whom, statistics.py and paired.py do the arithmetic, anomalies.py says what not to trust, findings.py holds all of this
together, tables/ and figures/ show it (budgets.py and pruned.py have the words for training and for what is gone),
conclusions.py says what follows, document.py puts all in order, page.py and markdown.py write it down.
"""
