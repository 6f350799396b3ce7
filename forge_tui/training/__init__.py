"""Training: the only room that imports torch. Importing this package itself does not."""
