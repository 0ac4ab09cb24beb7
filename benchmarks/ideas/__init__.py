"""Ideas that are not in the library, each in a file of its own, put into a training from outside.

What does not pay then leaves no trace in the code that is read. `benchmarks.tried` measures them.
"""
