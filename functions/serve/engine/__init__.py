"""What runs inside a model's revision: verified weights out of S3, vLLM's OpenAI server, and our edge inside it.

`python -m functions.serve.engine` is the container command; `python -m functions.serve.engine.stub` is the same edge
around an engine that only pretends, for tests and for trying the platform where no model fits.
"""
