"""Messages and records that processes exchange: events and the state that follows from them, jobs, requests. Pure."""
