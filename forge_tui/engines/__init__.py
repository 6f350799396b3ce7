"""Where workers come from: the local engine forks them on this machine."""
