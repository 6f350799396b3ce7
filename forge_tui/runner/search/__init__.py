"""The search of a run: results so far as trials, samplers that propose the next one, and the helper process of TPE."""
