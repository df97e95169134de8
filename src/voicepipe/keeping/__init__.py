"""What is kept of calls, so that another worker can take one over."""
