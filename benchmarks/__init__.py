"""Reproducible measurements: each prints what it measured, as ratios in one run."""
