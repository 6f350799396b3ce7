"""The process that supervises a run. It owns the run directory and needs no terminal; it never imports torch."""
