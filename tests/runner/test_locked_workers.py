"""A site that locks the number of workers refuses the command that changes it, by what its file says at that moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from run_directories import RunMaker
from steered import SteeredRun

from forge_tui.client.run import Run
from forge_tui.protocol.phases import TrainingPhase

Write = Callable[[str], Path]


def test_the_command_is_refused_with_the_file_that_locks_it(
    site_settings: Write, maker: RunMaker, tmp_path: Path
) -> None:
    models = [maker.model(1, TrainingPhase.TRAINING, epoch=20)]
    with SteeredRun(tmp_path / "night", models) as steered, Run(steered.directory.path) as run:

        def asked_for(workers: int) -> tuple[str, str]:
            answer = run.answer(run.set_workers(workers), timeout=None, done=True)
            assert answer is not None
            return answer["outcome"], answer["reason"] or ""

        assert asked_for(2)[0] == "done"
        file = site_settings(
            '[training]\nmax_parallel_workers = 2\n[site]\nlocked = ["training.max_parallel_workers"]\n'
        )
        outcome, reason = asked_for(5)
        assert outcome == "refused"
        assert f"training.max_parallel_workers is locked to 2 by {file}, line 4" in reason
        assert asked_for(2)[0] == "done"  # the value that is locked
        file.chmod(0o666)
        outcome, reason = asked_for(5)
        assert (outcome, "can be written by anyone" in reason) == ("refused", True)
