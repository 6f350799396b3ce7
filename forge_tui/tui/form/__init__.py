"""The form of a run's settings: values, fields, errors, and the list that edits them."""
