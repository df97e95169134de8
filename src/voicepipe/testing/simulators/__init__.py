"""Local servers that speak what vendors speak, and refuse what they refuse; for tests, demos and work without a key."""
