"""Run directories: where they are, what is in them, and who may write there."""
