"""From minutes, a text and a machine to a plan: which sizes fit the memory, how fast they are, how long to train."""
