"""Local servers that speak vendors' protocols and refuse what they refuse; for tests, demos and work without a key."""
