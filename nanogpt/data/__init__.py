"""Token ids on disk, and batches of them."""
