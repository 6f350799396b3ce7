"""A storm of `kill -9` at random instants over real runs, and the account of what was tried and what was lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from storm_checks import history_problems, look, lost, told, two_trainers
from storm_run import Role, StormRun, holders
from storm_scenarios import Scenario, Undisturbed
from storm_tally import ENDS, LOOKS, RESUMES, Moment, Tally

from forge_tui.protocol.phases import RunState

_INSTANT_SECONDS = 0.35
_FIRST_SECONDS = 0.3
_POLL_SECONDS = 0.0005
_WEIGHTS = {Role.WORKER: 60, Role.FORK_SERVER: 6, Role.RUNNER: 10, Role.FRONT_END: 16, Role.UI: 8}
_BEGINNING = (Role.FRONT_END, Role.RUNNER, Role.FORK_SERVER)
# Then it is left alone to its end: the models of a run that is killed on and on would hardly ever be finished.
_KILLS_A_RUN = 12
_DUE = (Moment.FIRST, Moment.START, Moment.RESUME, Moment.RESUME)
_HUNT_SECONDS = {Moment.CHECKPOINT: 0.6, Moment.FINAL: 2.0}
# Lies in the run directory, though no run made it.
_FOREIGN = "notes.txt"
_REMOVING_SECONDS = 0.004


class Storm:
    """Kills processes of one run after another, in `base`, until `kills` have been killed."""

    def __init__(self, base: Path, scenario: Scenario, chosen: random.Random) -> None:
        self.base = base
        self.tally = Tally()
        self._scenario = scenario
        self._arguments = scenario.prepare(base / "project")
        self._undisturbed = Undisturbed(base, scenario, self._arguments)
        self._random = chosen
        self._killed: set[int] = set()
        self._due: list[Moment] = []
        """Moments that chance might leave out: each comes at the first occasion."""
        self._start_seconds = 4.0
        self._resume_seconds = 4.0

    def rage(self, kills: int) -> Tally:
        """Go on until so many processes have been killed, and until the last run has come to its end."""
        self._due = [*_DUE] if kills >= _KILLS_A_RUN else []
        number = 0
        while self.tally.killed < kills:
            number += 1
            run = StormRun(self.base / f"run-{number}", self._arguments)
            try:
                self._one(run, kills)
            except Exception as error:  # the account goes on: this run is lost, whatever it was
                self.tally.problems.append(f"{run.directory.name}: {type(error).__name__}: {error}")
            finally:
                self.tally.problems += run.problems + run.complaints(self._killed)
                run.close()
                print(f"{run.directory}: {self.tally.killed} killed, {len(self.tally.problems)} lost", flush=True)
        return self.tally

    # --- one run

    def _one(self, run: StormRun, kills: int) -> None:
        until = self.tally.killed + _KILLS_A_RUN
        self._start(run)
        while self.tally.killed < min(kills, until):
            state = self._look(run)
            if state == RunState.COMPLETED:
                break
            if RunState(state).is_live:
                self._strike(run)
            else:
                self._resume(run, state)
        while (state := self._look(run)) != RunState.COMPLETED:
            if not RunState(state).is_live:
                run.wait_until_free()
                run.resume()
                self._wait_until_begun(run)
            elif not run.wait(lambda: not holders(run.directory), "the end of the run"):
                return
        self.tally.counts[ENDS] += 1
        self._keep(run, lost(run.directory, self._undisturbed.like(run.directory), self._scenario))
        self._remove(run)

    def _start(self, run: StormRun) -> None:
        """Start it; half of the time it is killed before it has begun, and has to start again as if nothing were."""
        while True:
            run.start()
            begun = time.monotonic()
            moment = self._random.choice((Moment.FIRST, Moment.START))
            moment = next((due for due in self._due if due is not Moment.RESUME), moment)
            if moment in self._due or self._random.random() < 0.5:
                longest = _FIRST_SECONDS if moment is Moment.FIRST else 1.1 * self._start_seconds
                self._let_pass(self._random.uniform(0.0, longest), run)
                if not run.has_database and self._kill(run, _BEGINNING, moment):
                    self._done(moment)
            self._wait_until_begun(run)
            if run.has_database:
                self._start_seconds = 0.5 * self._start_seconds + 0.5 * (time.monotonic() - begun)
                return
            self.tally.counts["starts killed before run.db, started again"] += 1
            run.wait_until_free()
            self._expect_no_run(run)

    def _resume(self, run: StormRun, state: str) -> None:
        if state not in (RunState.DIED, RunState.STOPPED):
            self._keep(run, [f"ended as {state}: {told('report', run.directory)[1][-1000:]}"])
        self._keep(run, history_problems(run.directory, goes_back=self._scenario.goes_back))
        at_once = self._random.random() < 0.5
        if not at_once:
            run.wait_until_free()
        run.resume()
        begun = time.monotonic()
        if Moment.RESUME in self._due or self._random.random() < 0.4:
            longest = self._random.choice((_FIRST_SECONDS, 1.1 * self._resume_seconds))
            self._let_pass(self._random.uniform(0.0, longest), None)
            if self._kill(run, _BEGINNING, Moment.RESUME):
                self._done(Moment.RESUME)
        self._wait_until_begun(run)
        self._resume_seconds = 0.5 * self._resume_seconds + 0.5 * (time.monotonic() - begun)
        self.tally.counts[RESUMES] += 1

    def _strike(self, run: StormRun) -> None:
        """Wait for a moment, and kill one process or several."""
        run.watch()
        moment = self._moment(run)
        self._kill(run, self._roles(run, moment), moment)

    def _roles(self, run: StormRun, moment: Moment) -> tuple[Role, ...]:
        if moment is Moment.FINAL:
            return (self._random.choice([Role.WORKER, Role.WORKER, Role.FORK_SERVER, Role.RUNNER]),)
        several = 1 if self._random.random() < 0.75 else self._random.randint(2, 4)
        roles = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=several)
        if Role.UI in roles:
            run.open_ui()
        return tuple(roles)

    def _moment(self, run: StormRun) -> Moment:
        wanted = self._random.choices([Moment.ANY, Moment.CHECKPOINT, Moment.FINAL], [60, 20, 20])[0]
        if wanted is Moment.ANY:
            self._let_pass(self._random.uniform(0.0, _INSTANT_SECONDS), None)
            return wanted
        deadline = time.monotonic() + _HUNT_SECONDS[wanted]
        while time.monotonic() < deadline:
            if self._is_writing_checkpoint(run) if wanted is Moment.CHECKPOINT else self._is_writing_model(run):
                return wanted
            time.sleep(_POLL_SECONDS)
        return Moment.ANY

    @staticmethod
    def _is_writing_checkpoint(run: StormRun) -> bool:
        # A file that is being written has a temporary name for a few milliseconds.
        return any((run.directory / "checkpoints").glob("*/.step-*.tmp"))

    def _is_writing_model(self, run: StormRun) -> bool:
        # Right after its last checkpoint, of whose name an undisturbed run has kept one.
        return any(
            os.path.exists(run.directory / last)
            and not os.path.exists(run.directory / f"{Path(last).parent.name}.json")
            for last in self._undisturbed.last_checkpoints()
        )

    # --- kills

    def _done(self, moment: Moment) -> None:
        if moment in self._due:
            self._due.remove(moment)

    def _kill(self, run: StormRun, roles: tuple[Role, ...], moment: Moment) -> int:
        """Kill a process of each of the roles that are there (before a run has begun: of one or more of them)."""
        there = holders(run.directory)
        if moment in (Moment.FIRST, Moment.START, Moment.RESUME):
            roles = tuple(self._random.sample(roles, self._random.choice((1, 1, 2, 3))))
        self._keep(run, two_trainers(there))
        victims: dict[int, Role] = {}
        if not any(run.process(role, there) for role in roles):
            roles = (Role.WORKER,) if run.process(Role.WORKER, there) else (Role.RUNNER,)
        for role in roles:
            pids = [pid for pid in run.process(role, there) if pid not in victims]
            if pids:
                victims[self._random.choice(pids)] = role
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.tally.kills[victims[pid], moment] += 1
            self._killed.add(pid)
        if run.has_database:
            self._look(run)
        return len(victims)

    # --- removal

    def _remove(self, run: StormRun) -> None:
        """`rm`, killed a few times: what is left can be looked at, and the next `rm` ends what this one began."""
        run.wait_until_free()
        foreign = run.directory / _FOREIGN
        foreign.write_text("kept", encoding="utf-8")
        for _ in range(self._random.randint(1, 2)):
            remover = run.remove()
            if self._random.random() < 0.25:
                self._let_pass(self._random.uniform(0.0, _FIRST_SECONDS), None)
            else:
                self._let_pass_until_it_removes(run, remover)
                self._let_pass(self._random.uniform(0.0, _REMOVING_SECONDS), None)
            if remover.poll() is None:
                remover.kill()
                self.tally.kills[Role.REMOVER, Moment.REMOVE] += 1
                self._killed.add(remover.pid)
            remover.wait()
            self._look_at_remains(run)
        status, _out, err = told("rm", "--yes", run.directory)
        left = sorted(path.name for path in run.directory.rglob("*"))
        if left != [_FOREIGN]:
            self._keep(run, [f"rm, after it was killed, exits {status} and leaves {left}: {err}"])

    def _let_pass_until_it_removes(self, run: StormRun, remover: subprocess.Popen[bytes]) -> None:
        """A directory's time changes with the first name that goes."""
        before = os.stat(run.directory).st_mtime_ns
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline and os.stat(run.directory).st_mtime_ns == before:
            if remover.poll() is not None:
                return

    def _look_at_remains(self, run: StormRun) -> None:
        """It is a run still, or viewers say in words that it is none."""
        status, _out, err = told("status", run.directory)
        self.tally.counts[LOOKS] += 1
        if status != 0 and (status not in (2, 4) or str(run.directory) not in err):
            self._keep(run, [f"after a killed rm, status exits {status}: {err}"])

    # --- what must hold

    def _look(self, run: StormRun) -> str:
        state, problems = look(run.directory)
        self.tally.counts[LOOKS] += 1
        self._keep(run, problems)
        return state

    def _expect_no_run(self, run: StormRun) -> None:
        """Before run.db there is no run: viewers say so in words."""
        status, _out, err = told("status", run.directory)
        if status not in (2, 4) or str(run.directory) not in err:
            self._keep(run, [f"before run.db, status exits {status}: {err}"])

    def _wait_until_begun(self, run: StormRun) -> None:
        """Until somebody trains, or until the one who was to start or resume it has gone."""

        def settled() -> bool:
            there = holders(run.directory)
            if run.has_database and any(holder.role is Role.WORKER for holder in there):
                return True
            return not there and run.front is not None and run.front.poll() is not None

        run.wait(settled, "a run that trains, or nobody there")

    def _let_pass(self, seconds: float, starting: StormRun | None) -> None:
        """A random instant is what this is about; no longer than until a start has made its database."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not (starting is not None and starting.has_database):
            time.sleep(_POLL_SECONDS)

    def _keep(self, run: StormRun, problems: list[str]) -> None:
        self.tally.problems += [f"{run.directory.name}, kill {self.tally.killed}: {problem}" for problem in problems]
