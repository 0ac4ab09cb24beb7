"""The proof that a run gives the same answers wherever it is opened.

compare    one program's logits, text and ids held against ours
native     the library's own ways: compiled, cached, batched
exports    each format, made or given, in the program that it is for
rows       all of them
"""
