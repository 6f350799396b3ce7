"""The process that trains: fork server, messages, memory meter, and measurements before a run."""
