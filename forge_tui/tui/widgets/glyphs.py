"""The drawing characters: one set for UTF-8 terminals, one for ASCII."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from forge_tui.protocol.phases import TrainingPhase

PHASE_WORDS: Mapping[TrainingPhase, str] = MappingProxyType(
    {
        TrainingPhase.QUEUED: "queued",
        TrainingPhase.INITIALIZING: "init",
        TrainingPhase.TRAINING: "train",
        TrainingPhase.PAUSED: "paused",
        TrainingPhase.CHECKPOINTING: "ckpt",
        TrainingPhase.SAVING: "save",
        TrainingPhase.COMPLETED: "done",
        TrainingPhase.FAILED: "failed",
        TrainingPhase.CANCELLED: "cancel",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """One set of characters. Each is one cell wide.

    `spark` goes from the lowest level to the highest. `plot` has one character per curve, for a canvas with one pixel
    per cell; `tick_*` and `axis_*` draw the frame of a chart.
    """

    ascii: bool
    phases: Mapping[TrainingPhase, str]
    bar_done: str
    bar_left: str
    spark: str
    gap: str
    cursor: str
    fold_open: str
    fold_closed: str
    mark: str
    chosen: str
    unknown: str
    ellipsis: str
    dash_range: str
    sort_up: str
    sort_down: str
    live: str
    diverged: str
    line_solid: str
    line_dotted: str
    line_faint: str
    axis_vertical: str
    axis_horizontal: str
    axis_corner: str
    tick_vertical: str
    tick_horizontal: str
    plot: str

    def phase(self, phase: TrainingPhase) -> tuple[str, str]:
        """The sign of a phase and its word, at most 6 cells."""
        return self.phases[phase], PHASE_WORDS[phase]

    def bar(self, share: float, width: int) -> tuple[str, str]:
        """The done and the open part of a progress bar of `width` cells; only 1 fills it."""
        done = width if share >= 1 else min(width - 1, max(0, int(share * width)))
        return self.bar_done * done, self.bar_left * (width - done)


UNICODE = Glyphs(
    ascii=False,
    phases=MappingProxyType(
        {
            TrainingPhase.QUEUED: "○",
            TrainingPhase.INITIALIZING: "◌",
            TrainingPhase.TRAINING: "●",
            TrainingPhase.PAUSED: "‖",
            TrainingPhase.CHECKPOINTING: "◆",
            TrainingPhase.SAVING: "◆",
            TrainingPhase.COMPLETED: "✓",
            TrainingPhase.FAILED: "✗",
            TrainingPhase.CANCELLED: "⊘",
        }
    ),
    bar_done="━",
    bar_left="─",
    spark="▁▂▃▄▅▆▇█",
    gap="×",
    cursor=">",
    fold_open="▾",
    fold_closed="▸",
    mark="*",
    chosen="×",
    unknown="—",
    ellipsis="…",
    dash_range="–",
    sort_up="▲",
    sort_down="▼",
    live="●",
    diverged="×",
    line_solid="━",
    line_dotted="┄",
    line_faint="·",
    axis_vertical="│",
    axis_horizontal="─",
    axis_corner="└",
    tick_vertical="┤",
    tick_horizontal="┬",
    plot="●○◆◇■□▲△",
)

ASCII = Glyphs(
    ascii=True,
    phases=MappingProxyType(
        {
            TrainingPhase.QUEUED: ".",
            TrainingPhase.INITIALIZING: "i",
            TrainingPhase.TRAINING: ">",
            TrainingPhase.PAUSED: "=",
            TrainingPhase.CHECKPOINTING: "c",
            TrainingPhase.SAVING: "s",
            TrainingPhase.COMPLETED: "+",
            TrainingPhase.FAILED: "x",
            TrainingPhase.CANCELLED: "/",
        }
    ),
    bar_done="#",
    bar_left="-",
    spark="_.-~=*#@",
    gap="x",
    cursor=">",
    fold_open="-",
    fold_closed="+",
    mark="*",
    chosen="x",
    unknown="-",
    ellipsis="~",
    dash_range="-",
    sort_up="^",
    sort_down="v",
    live="*",
    diverged="X",
    line_solid="=",
    line_dotted=":",
    line_faint=".",
    axis_vertical="|",
    axis_horizontal="-",
    axis_corner="+",
    tick_vertical="+",
    tick_horizontal="+",
    plot="*o+#%@&$",
)
