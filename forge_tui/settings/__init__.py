"""The one schema of settings, and the layers it is filled from."""
