"""Results of runs as text or files: report, comparison, ensemble, benchmark, plan."""
