"""Input and output for untrusted content: files, JSON, and text that must not control a terminal."""
