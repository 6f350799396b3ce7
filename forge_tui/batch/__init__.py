"""Batch mode: a run without a screen."""
