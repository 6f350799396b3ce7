"""What follows from the state of a run: when it will be done, which model is best, the spread over seeds. Pure."""
