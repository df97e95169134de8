"""Measures the figures that the project promises. `python -m benchmarks` prints all of them; see README.md."""
