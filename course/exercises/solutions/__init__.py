"""An answer to each exercise, one file a section, as a learner would write it."""
