"""A run as an HTTP server with OpenAI's completions interface; many requests share one batch (extra `studio`).

- `app`: the routes
- `api`: requests, responses and errors as JSON
- `completions`: from a request to a job, and from its tokens to a response or a stream
- `jobs`: what the engine works on, and log-probabilities
- `engine`: a thread that owns the batch
- `middleware`: checks of access and limits
- `metrics`: figures for Prometheus
- `server`: the process
- `settings`: access and limits
"""
