"""Traces and metrics of calls, for what operators already use: OpenTelemetry and Prometheus."""
