"""The chart of curves: what it shows, its axes, and how it is drawn in characters."""
