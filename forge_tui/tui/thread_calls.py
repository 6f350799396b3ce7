"""Runs functions in threads and passes their results back to the UI."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.css.query import NoMatches

from forge_tui.errors import ForgeError
from forge_tui.tui.messages import ThreadDone

if TYPE_CHECKING:
    from textual.app import App


class ThreadCalls:
    """Starts worker threads, each of which posts `ThreadDone`."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._asked = 0
        self._newest_answers: dict[str, int] = {}  # the number of the newest answer about each subject

    def start(self, function: Callable[[], Any], then: Callable[[Any], None], subject: str = "") -> None:
        """Run `function` in a thread; `then` gets its result, or the `ForgeError` or `OSError` it raised.

        A result about a `subject` is dropped if a later call about it has already returned.
        """
        number = self._asked = self._asked + 1

        def in_order(result: Any) -> None:
            if not subject or self._newest_answers.get(subject, 0) < number:
                self._newest_answers[subject] = number
                then(result)

        def work() -> None:
            try:
                result: Any = function()
            except (ForgeError, OSError) as error:
                result = error if isinstance(error, ForgeError) else ForgeError(str(error))
            self._app.post_message(ThreadDone(in_order, result))

        self._app.run_worker(work, thread=True, group="io")

    def done(self, message: ThreadDone) -> None:
        """Pass a result to its caller, unless the caller's screen was closed meanwhile."""
        try:
            message.then(message.result)
        except NoMatches:
            self._app.log.debug(f"nobody is there any more for {message.then}")
