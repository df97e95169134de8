"""The session: the row of parts, and who moves things along it."""
