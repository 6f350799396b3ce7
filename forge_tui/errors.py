"""The errors a user can meet. Each message says what happened, where, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ForgeError(Exception):
    """Base of all errors that are shown to the user without a traceback.

    `exit_status` is what the command line exits with.
    """

    exit_status = 1


class UsageError(ForgeError, ValueError):
    """The command line or a call asks for something that does not exist or is inconsistent."""

    exit_status = 2


class SettingsError(UsageError):
    """A setting is unknown, of the wrong type or out of range; names the key, its value and its source."""


class DataError(UsageError):
    """A dataset is missing, malformed, or does not fit the model; names the file and the place in it."""


class ResourceError(ForgeError, MemoryError):
    """One model alone needs more memory than this process may use."""

    exit_status = 3


class RunDirectoryError(ForgeError, OSError):
    """A run directory is in use, taken, damaged, or cannot be read or written."""

    exit_status = 4


class ChangedError(UsageError):
    """The data or the code of a run has changed since its start; names what differs (failure kind `changed`)."""


class UntrustedCode(UsageError):
    """A run's custom code is not trusted: this user has not started it here; names the code and how to allow it."""


class ReadOnlyError(ForgeError):
    """This process only looks (`--read-only`): it starts, steers, deletes and writes nothing."""

    exit_status = 2


class TrialError(UsageError):
    """A training function uses its trial in a way that can never work: its model is not tried again."""


class TrialStopped(BaseException):
    """A training function is to end here: a checkpoint is saved, or none was to be. Let it pass.

    It is no `Exception`, so that `except Exception` in a training loop does not catch it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)


class RunGone(RunDirectoryError):
    """The directory of an open run was moved or deleted; `what` says so briefly."""

    exit_status = 1

    def __init__(self, message: str, what: str = "was moved or deleted") -> None:
        super().__init__(message)
        self.what = what


class TrainingFailed(ForgeError, RuntimeError):
    """Some models of a run did not complete.

    `completed` holds the path stems of those that did, `failures` one record (`protocol.model_state.Failure`)
    for each of the others.
    """

    def __init__(self, message: str, completed: Sequence[str] = (), failures: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.completed = list(completed)
        self.failures = list(failures)
