"""Servers as custom resources of kind ModelServe (docs/modelserve.md)."""
