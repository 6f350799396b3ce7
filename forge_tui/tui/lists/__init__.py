"""The lists of models and of runs: columns, order, filter, and only the rows in view drawn."""
