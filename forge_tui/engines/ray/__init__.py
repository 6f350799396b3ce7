"""The Ray engine: workers on the nodes of a cluster, each forked by our own fork server there.

    runner ── socket ── bridge (the process that is Ray's driver) ── Ray ── node agent ── fork server ── workers

Only `bridge` and `cluster` import Ray, in a process of their own: what Ray does to its process (signal handlers,
threads, ending it when the cluster is gone) does not happen to the runner.
"""
