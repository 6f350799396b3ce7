"""Native training steps: C++ compiled once on the user's machine, called with addresses of tensors. No torch here."""
