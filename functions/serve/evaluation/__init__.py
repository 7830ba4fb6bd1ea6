"""Evaluation of candidate models for one alias: who answers a set of prompts best is served under that name."""
