"""The process that trains: fork server, messages, memory meter, and what is measured before a run."""
