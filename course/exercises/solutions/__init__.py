"""An answer to each exercise, one file per section, as a learner would write it."""
