"""Benchmarks: simulation and training against what the machine and other libraries reach."""
