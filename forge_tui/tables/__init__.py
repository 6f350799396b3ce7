"""Tables: how they are read, what their columns are, and how rows become numbers. Without torch."""
