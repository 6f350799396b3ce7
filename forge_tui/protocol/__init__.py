"""What processes say to each other and write down: events and the state they lead to, jobs, requests. Pure."""
