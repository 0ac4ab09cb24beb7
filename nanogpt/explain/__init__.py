"""Read what a model computes: attention, the residual stream, predictions, and the effect of each head.

trace          attention patterns, residual stream and logits of one forward pass, and the logit lens
predictions    the likeliest next tokens, and how likely each token of a text was
head_ablation  what changes when attention heads are switched off
embeddings     token and position embeddings on a plane
hooks          the hooks and the evaluation mode that the others use
"""
