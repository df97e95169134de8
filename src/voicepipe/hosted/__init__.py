"""Agents that a service hosts: it hears, answers and speaks over one connection, and the session stays ours."""
