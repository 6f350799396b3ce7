"""The settings schema, and the layers that values come from."""
