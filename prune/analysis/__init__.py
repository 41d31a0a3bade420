"""What pruning did to a model: one file an analysis, each from the models and validation images of a finished state.

The story is in command.py: runs.py opens a run, base.py says what an analysis is and may look at, work.py decides what has to
be computed, computes and stores it. images.py draws the images, colours.py has what figures share. Results are files of the run
(`prune.rundir.analyses`), which the report shows without torch.
"""
