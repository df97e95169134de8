"""The embedded recogniser: PocketSphinx."""
