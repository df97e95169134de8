"""The turn: its state, its messages, and what the caller heard of them."""
