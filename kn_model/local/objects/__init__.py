"""The Kubernetes objects that the runtime holds: kinds, versions, ownership, watches, kept in PostgreSQL."""
