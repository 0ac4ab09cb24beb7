"""Token ids on disk.

- `batches`: the data set and its batches
- `tokenize`: from a text to the data set
"""
