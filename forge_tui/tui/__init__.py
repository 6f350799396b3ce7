"""The terminal UI: screens and widgets over a run. Nothing here imports torch."""
