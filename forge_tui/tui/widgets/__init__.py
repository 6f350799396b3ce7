"""Widgets that draw their own lines, and the pure functions they draw with."""
