"""From sentences to audio."""
