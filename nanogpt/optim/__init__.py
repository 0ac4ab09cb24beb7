"""What changes the weights.

- `optimizers`: parameter groups, and the optimizers that a training uses
- `adamw`: AdamW, for embeddings, the output layer and vectors, or for everything
- `muon`: Muon, for the matrices inside the blocks
- `schedule`: the learning rate as a function of progress, Muon's momentum as one of the step
"""
