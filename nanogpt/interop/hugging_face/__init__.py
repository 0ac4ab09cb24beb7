"""A folder of Hugging Face Transformers: written from a run (`export`), and read as one (`reading`)."""
