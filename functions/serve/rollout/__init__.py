"""How a server goes over to another revision, by steps of traffic, and back (docs/rollout.md)."""
