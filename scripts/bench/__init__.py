"""The benchmarks behind ``scripts/benchmark``: the project's limits, measured beside their peers in one run."""
