"""The terminal itself: driver, device, signals, keys, and that it is restored whatever ends the UI."""
