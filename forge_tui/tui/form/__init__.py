"""The form of a run's settings: values, fields, what is wrong with them, and the list that edits them."""
