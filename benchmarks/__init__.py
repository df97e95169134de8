"""What the project promises in numbers, measured. `python -m benchmarks` prints every figure; see README.md."""
