"""Functions that a language model may call."""
