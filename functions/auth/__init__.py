"""Tokens, API keys, users, the public key set and the verify endpoint for an ingress."""
