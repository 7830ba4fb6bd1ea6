"""Knative Eventing on one machine: a durable Broker, Triggers, PingSource and ApiServerSource."""
