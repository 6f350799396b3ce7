from made_jobs import make_job as make_job
