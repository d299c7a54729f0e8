"""Grad-CAM."""
