"""Callbacks with which training frameworks report to a trial; each module imports its own framework."""
