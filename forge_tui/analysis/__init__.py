"""Analysis of a run's state: remaining time, best model, spread over seeds. Pure."""
