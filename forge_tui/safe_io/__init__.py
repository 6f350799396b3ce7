"""Input and output that trust nothing: files and JSON of anybody's making, text that must not steer a terminal."""
