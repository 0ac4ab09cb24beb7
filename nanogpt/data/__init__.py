"""Token ids on disk (`dataset`) and batches of them (`batches`)."""
