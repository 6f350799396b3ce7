"""What happens in a run: events, the state they lead to, and how far along it is. Pure: no input or output."""
