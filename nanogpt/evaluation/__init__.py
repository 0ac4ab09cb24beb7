"""How good a model is, and how certain the figures are.

- `loss`: the loss on a text, window by window
- `random_batches`: nanoGPT's protocol, for comparison
- `intervals`: confidence intervals by a block bootstrap
- `significance`: Student's t and Welch's test, for several seeds
- `baselines`: guessing, counting and compressing the same text
- `ngrams`: n-gram models
- `memorisation`: how much of a generated text is copied
"""
