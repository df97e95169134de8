"""What watches calls: budgets, recordings, traces and metrics, and what is made of them."""
