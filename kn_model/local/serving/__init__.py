"""Knative Serving on one machine: revisions become processes that start when called and end when idle."""
