"""What is remembered: the turn, its messages, and what the caller heard of them."""
