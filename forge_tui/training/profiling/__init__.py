"""Measures where a step's time goes; imported by a worker only when a profile was asked for."""
