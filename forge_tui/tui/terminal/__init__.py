"""The terminal: driver, device, signals, keys, and restoring it whatever ends the UI."""
