"""A small hub that speaks the Hugging Face hub's HTTP API, for machines that cannot reach the real one.

Started as `python -m kn_model.hub` by the demo and by tests; it serves repositories that lie in a directory.
"""
