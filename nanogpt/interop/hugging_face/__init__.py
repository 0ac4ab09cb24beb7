"""Folders of Hugging Face Transformers, exported and imported.

export     a run as such a folder, with its model card
importing  such a folder, or a model on the Hub, as a run
hub        downloads from the Hub and uploads to it
tokenizer  `tokenizer.json`, written and read
"""
