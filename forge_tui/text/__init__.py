"""Numbers, events and configs in words, the same in every front end."""
