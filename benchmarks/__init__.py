"""Benchmarks against other stores, stress tests and crash tests. See README.md."""
