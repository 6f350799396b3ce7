"""Questions, pickers, help and palette above a screen."""
