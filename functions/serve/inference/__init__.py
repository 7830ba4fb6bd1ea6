"""Asynchronous inference: requests that are kept, asked when there is a place, and answered later (docs/inference.md)."""
