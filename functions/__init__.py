"""The four Knative functions (auth, download, serve, status) and the kit that they share."""
