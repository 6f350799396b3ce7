"""Widgets that draw their own lines, and their pure drawing functions."""
