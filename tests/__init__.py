"""The tests, and the tiny model that they and the benchmarks share."""
