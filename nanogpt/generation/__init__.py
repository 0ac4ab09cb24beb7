"""What `nanogpt.sampling` is made of: filters on logits, windows and their cache, rows in step, text on its way out."""
