"""What changes the weights.

- `optimizers`: parameter groups, and the optimizers that a training uses
- `adamw`: AdamW, for embeddings, the output layer and vectors, or for everything
- `muon`: Muon, for the matrices inside the blocks
- `schedule`: learning rate and momentum as functions of progress
"""
