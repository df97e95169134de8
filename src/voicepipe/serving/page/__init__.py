"""The agent in a browser: the transport `Page`, its protocol and its files."""
