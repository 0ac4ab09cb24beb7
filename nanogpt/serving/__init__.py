"""A run behind HTTP, in the form of OpenAI's completions: many requests at once share one batch.

From the inside out: `engine` (a thread that owns the batch), `jobs` and `scores` (what it works on), `completions`
(a request to a job, its tokens to an answer), `app` (the routes), `guard` (who may ask, and how much), `server` (the
process). Nothing here is needed to sample or train; it takes the extra `studio`.
"""
