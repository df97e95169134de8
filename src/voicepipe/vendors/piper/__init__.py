"""The natural voice without key or network: Piper."""
