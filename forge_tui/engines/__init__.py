"""Engines start workers: the local engine forks them on this machine."""
