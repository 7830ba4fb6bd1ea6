"""The function `serve`: decides whether a model fits, creates its Knative Service and follows it until it answers."""
