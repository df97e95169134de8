"""Clients of OpenAI's Realtime protocol: the transport, and its protocol as pure parts."""
