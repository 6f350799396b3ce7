"""The Python interface kept for existing code: `CognateCreator`, `ProgressAggregator`, and `agent_forge`."""
