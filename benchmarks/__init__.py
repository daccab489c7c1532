"""What recording costs, as ratios to the unrecorded run, all taken in one run: ``python -m benchmarks overhead``."""
