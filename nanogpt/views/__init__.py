"""A training as people see it: in a terminal, as curves, in a tracker. All consume its events or metrics."""
