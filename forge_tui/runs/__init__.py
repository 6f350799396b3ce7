"""Run directories: their places, their contents, and write access to them."""
