"""The UI in a browser (`forge-tui serve`): textual-serve's page and protocol, behind a guard of our own."""
