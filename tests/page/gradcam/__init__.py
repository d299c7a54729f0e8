"""The Grad-CAM tab."""
