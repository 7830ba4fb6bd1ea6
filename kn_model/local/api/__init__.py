"""The Kubernetes API of the runtime: what serve, kubectl and kn talk to."""
