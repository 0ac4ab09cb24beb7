"""Checks that a run gives the same answers however it is run and wherever it is opened.

compare  one program's logits, text and ids compared with plain torch, and the library's own ways
exports  every check of a run: the native ways, and each export in its program
"""
