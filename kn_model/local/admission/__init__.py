"""What Knative's webhooks default and refuse, and which fields the runtime honours. Pure."""
