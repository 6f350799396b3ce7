"""Jobs, as the trainer's tests have them."""

from made_jobs import make_job as make_job
