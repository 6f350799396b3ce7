"""Metrics beside the loss, per task, of one model or of a stack of them.

To add one, declare it in `protocol.metrics.BUILT_IN`, compute it in the task's file here, and name it in `measures`.
"""
