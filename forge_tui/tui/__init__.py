"""The terminal UI: screens and widgets over a session. Nothing here imports torch."""
