"""Torpor on whatever cluster the current kubeconfig points at: making one with kind, deploying to it, looking at it."""
