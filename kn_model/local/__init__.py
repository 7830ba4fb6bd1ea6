"""The laptop runtime: one supervisor that stands in for Kubernetes and Knative on one machine (`kn model up`)."""
