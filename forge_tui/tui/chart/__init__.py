"""The chart of curves: data, axes, and drawing with characters."""
