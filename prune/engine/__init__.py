"""One run from its configuration to its last state: the loop, the state in progress, and the interface of a method."""
