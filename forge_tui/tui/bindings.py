"""The table of actions: keys, footer, help and palette are made from it, so that they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol

from textual.binding import Binding, BindingType

EVERYWHERE = frozenset({"configure", "watch", "runs", "model", "compare", "data"})
WATCH = frozenset({"watch"})
CONFIGURE = frozenset({"configure"})
RUNS = frozenset({"runs"})
MODEL = frozenset({"model"})
COMPARE = frozenset({"compare"})
DATA = frozenset({"data"})
LISTS = EVERYWHERE
CHARTS = WATCH | MODEL | COMPARE


TITLES = {
    "configure": "Configure", "watch": "Watch", "runs": "Runs", "model": "Model", "compare": "Compare", "data": "Data",
}  # fmt: skip
"""The titles of the screens."""

PURPOSES = {
    "configure": "What to train, and on which data. The other settings have defaults that work.",
    "watch": "The models of one run as they train: progress, curves, log.",
    "runs": "The runs that were started here, live ones first.",
    "model": "One model: curve, metrics, failures, settings, checkpoints, output.",
    "compare": "Runs side by side: settings that differ, final metrics, mean curves.",
    "data": "The columns of the table, and what becomes of each.",
}
"""What the screens are for, each in one line of 80 columns."""


class Action(NamedTuple):
    """A user's action: `keys` as Textual names them, `label` for the footer, `where` by screen.

    `live`: the footer shows it only while the watched run is live (True) or has ended (False); None: always.
    `browser_key` does the same: a browser may keep the others for itself.
    """

    id: str
    keys: tuple[str, ...]
    label: str
    help: str
    where: frozenset[str]
    footer: bool = False
    group: str = "General"
    live: bool | None = None
    browser_key: str = ""

    @property
    def key_text(self) -> str:
        """The keys as people write them."""
        return " ".join(_KEY_WORDS.get(key, key) for key in self.keys)


_KEY_WORDS = {
    "slash": "/", "full_stop": ".", "question_mark": "?", "colon": ":", "plus": "+", "minus": "-", "space": "Space",
    "enter": "Enter", "escape": "Esc", "backspace": "Backspace", "delete": "Delete", "tab": "Tab",
    "shift+tab": "Shift+Tab", "up": "↑", "down": "↓",
    "left": "←", "right": "→", "pageup": "PgUp", "pagedown": "PgDn", "home": "Home", "end": "End",
    "ctrl+r": "Ctrl+R", "ctrl+s": "Ctrl+S", "ctrl+o": "Ctrl+O", "ctrl+z": "Ctrl+Z", "ctrl+l": "Ctrl+L",
    "less_than_sign": "<", "greater_than_sign": ">", "f2": "F2", "f4": "F4", "f8": "F8", "f9": "F9",
    "ctrl+q": "Ctrl+Q", "ctrl+c": "Ctrl+C", "upper_a": "A", "upper_o": "O", "upper_k": "K", "upper_r": "R",
    "upper_d": "D", "upper_y": "Y", "upper_g": "G",
}  # fmt: skip

ACTIONS: tuple[Action, ...] = (
    Action("start", ("ctrl+r",), "Start", "start a run with these settings", CONFIGURE, True, "Settings",
           browser_key="f2"),
    Action("open_setting", ("enter", "space"), "Edit", "open the setting: edit, choose, switch", CONFIGURE, True,
           "Settings"),
    Action("columns", ("c",), "Columns", "show the columns of the table: kinds, values, what becomes of them",
           CONFIGURE, True, "Settings"),
    Action("fold", ("f",), "More", "show all settings, or only the most used and the changed ones; Enter on a section "
           "does it for that one", CONFIGURE, True, "Settings"),
    Action("filter", ("slash",), "Find", "find a setting by words of its name or of what it does, folded ones too",
           CONFIGURE, True, "Settings"),
    Action("next_kind", ("space", "right"), "Kind",
           "make the column a number, a category, a date, ignored, or what its values say; the target: classes or "
           "numbers", DATA, True, "Columns"),
    Action("previous_kind", ("left",), "Kind back", "the same, backwards", DATA, False, "Columns"),
    Action("ignore_column", ("x",), "Ignore", "ignore the column, or use it again", DATA, True, "Columns"),
    Action("make_target", ("T",), "Target", "predict this column", DATA, True, "Columns"),
    Action("reset_column", ("u", "delete"), "Auto", "let the column's values say what it is", DATA, True, "Columns"),
    Action("less", ("left",), "Less", "the previous choice, or a smaller number", CONFIGURE, False, "Settings"),
    Action("more", ("right",), "More", "the next choice, or a larger number", CONFIGURE, False, "Settings"),
    Action("sweep", ("V",), "Values", "several values (a sweep), or a range (a search)", CONFIGURE, False,
           "Settings"),
    Action("reset_setting", ("u", "delete"), "Default", "put the setting's default back", CONFIGURE, False, "Settings"),
    Action("reset_all", ("U",), "Defaults", "put all defaults back; again: what was there before", CONFIGURE, False,
           "Settings"),
    Action("load_preset", ("ctrl+o",), "Load", "load a preset or a settings file", CONFIGURE, True, "Settings",
           browser_key="f4"),
    Action("save_preset", ("ctrl+s",), "Save", "save these settings as a preset", CONFIGURE, True, "Settings",
           browser_key="f8"),
    Action("plan", ("P",), "Plan", "measure how long the run would take here in each mode, and choose one", CONFIGURE,
           False, "Settings"),
    Action("pause", ("p",), "Pause", "pause the run (memory is kept, the CPU is free), or continue it", WATCH | MODEL,
           True, "Run", True),
    Action("stop", ("s",), "Stop", "end the run after a checkpoint (asks)", WATCH | MODEL, True, "Run", True),
    Action("pause", ("p",), "Pause", "pause the selected run, or continue it", RUNS, True, "Run"),
    Action("stop", ("s",), "Stop", "end the selected run after a checkpoint (asks)", RUNS, True, "Run"),
    Action("cancel", ("x",), "Cancel", "end this model, or those selected by X, after a checkpoint (asks)",
           WATCH | MODEL, True, "Run", True),
    Action("retry", ("r",), "Retry", "train this model, or those selected by X, again (failed, cancelled)",
           WATCH | MODEL, True, "Run", True),
    Action("workers", ("w",), "Workers", "change the number of workers", WATCH | MODEL | CONFIGURE, True, "Run",
           True),
    Action("kill", ("K",), "Kill", "end the run at once; loses the work since the checkpoints (asks)", WATCH | MODEL,
           False, "Run"),
    Action("resume", ("R",), "Resume", "continue a run that has ended or died (asks)", WATCH, True, "Run",
           False),
    Action("resume", ("R",), "Resume",
           "continue a run that has ended or died; a completed one for more epochs",
           RUNS, True, "Run"),
    Action("detach", ("d",), "Detach", "leave, the run continues", WATCH | MODEL, True, "Run", True),
    Action("label", ("N",), "Name", "give the run a name, which commands accept for it, and a note", RUNS, True, "Run"),
    Action("delete", ("D",), "Delete", "delete the run and its models (asks)", RUNS, True, "Run"),
    Action("new", ("n",), "New", "new settings from these", EVERYWHERE, False, "Settings"),
    Action("export", ("e",), "Export", "write a report of the run (text, JSON, CSV, TensorBoard)",
           WATCH, True, "Run", False),
    Action("export", ("e",), "Export", "write a report of the run (text, JSON, CSV, TensorBoard)",
           RUNS | MODEL, True, "Run"),
    Action("open", ("enter",), "Open", "open the selected model or run", WATCH | RUNS, True, "Lists"),
    Action("back", ("escape", "backspace"), "Back",
           "one level back: filter, zoom, screen",
           WATCH | RUNS | MODEL | COMPARE | DATA, True, "Lists"),
    Action("back", ("escape",), "Back", "back to where you came from", CONFIGURE, True, "Lists"),
    Action("mark", ("space",), "Mark", "mark the model for the chart", WATCH, False, "Lists"),
    Action("mark", ("space",), "Mark", "mark the run, to compare it with others", RUNS, False, "Lists"),
    Action("choose", ("X",), "Select", "select the model for x and r, several of them; again: not", WATCH, False,
           "Lists"),
    Action("mark_all", ("a",), "Mark all", "mark all models that are shown", WATCH, False, "Lists"),
    Action("mark_none", ("A",), "Mark none", "clear all marks, and what X has selected", WATCH, False, "Lists"),
    Action("mark_none", ("A",), "Mark none", "clear all marks", RUNS, False, "Lists"),
    Action("compare", ("C",), "Compare", "the marked runs side by side: settings that differ, final metrics, curves",
           RUNS, True, "Run"),
    Action("filter", ("slash",), "Filter", "show only what matches", WATCH | RUNS | DATA, True, "Lists"),
    Action("sort", ("o",), "Sort", "sort by the next column", WATCH, True, "Lists"),
    Action("reverse", ("O",), "Reverse", "reverse the order", WATCH, False, "Lists"),
    Action("follow_best", ("b",), "Best",
           "let the selection follow the best model. BEST has each model's rank: 1 is the best by the validation "
           "metric, then the validation loss, then the training loss", WATCH, False, "Lists"),
    Action("scroll_to_selection", ("full_stop",), "Centre", "scroll to the selection", WATCH | RUNS | DATA, False,
           "Lists"),
    Action("up", ("up", "k"), "Up", "one up", LISTS, False, "Lists"),
    Action("down", ("down", "j"), "Down", "one down", LISTS, False, "Lists"),
    Action("page_up", ("pageup",), "Page up", "one page up", LISTS, False, "Lists"),
    Action("page_down", ("pagedown",), "Page down", "one page down", LISTS, False, "Lists"),
    Action("first", ("home", "g"), "First", "to the first", LISTS, False, "Lists"),
    Action("last", ("end", "G"), "Last", "to the last", LISTS, False, "Lists"),
    Action("chart_pane", ("c",), "Chart", "show or hide the chart", WATCH | MODEL, True, "Panes"),
    Action("chart_pane", ("c",), "Curves", "show or hide the mean curves of the runs", COMPARE, True, "Panes"),
    Action("log_pane", ("l",), "Log", "show or hide the log", WATCH, True, "Panes"),
    Action("output_pane", ("L",), "Output", "show or hide what the selected model's code prints, beside the chart",
           WATCH, True, "Panes"),
    Action("log_pane", ("l",), "Output", "go to the output of the model's code", MODEL, True, "Panes"),
    Action("next_pane", ("tab",), "Next pane", "focus the next pane", WATCH, False, "Panes"),
    Action("next_pane", ("tab",), "Section", "the next section: metrics, attempts, config, checkpoints, output", MODEL,
           True, "Panes"),
    Action("zoom_pane", ("z",), "Zoom", "give the focused pane the whole screen", WATCH, False, "Panes"),
    Action("zoom_pane", ("z",), "Zoom", "all room to the text, then to the chart, then shared again",
           MODEL | COMPARE, True, "Panes"),
    Action("zoom_in", ("plus",), "Zoom in", "chart: fewer epochs, in more detail", CHARTS, False, "Chart"),
    Action("zoom_out", ("minus",), "Zoom out", "chart: more epochs", CHARTS, False, "Chart"),
    Action("pan_left", ("left",), "Pan left", "chart: earlier epochs", CHARTS, False, "Chart"),
    Action("pan_right", ("right",), "Pan right", "chart: later epochs", CHARTS, False, "Chart"),
    Action("reset_chart", ("0",), "Reset", "chart: all epochs", CHARTS, False, "Chart"),
    Action("cursor_left", ("less_than_sign",), "Values", "chart: the values at an earlier epoch, or by a click", CHARTS,
           False, "Chart"),
    Action("cursor_right", ("greater_than_sign",), "Values later", "chart: the values at a later epoch", CHARTS, False,
           "Chart"),
    Action("log_y", ("y",), "Log y", "chart: logarithmic or linear", CHARTS, False, "Chart"),
    Action("grid", ("V",), "Grid", "chart: all metrics as small charts, or one; from 160 columns on it starts with all",
           WATCH | MODEL, False, "Chart"),
    Action("pin", ("P",), "Pin", "chart: pin the metric, which then comes first; again: not", WATCH | MODEL, False,
           "Chart"),
    Action("kinds", ("v",), "Next curve", "chart: loss, each loss alone, recorded metrics, learning rate",
           WATCH | MODEL, False, "Chart"),
    Action("kinds", ("v",), "Train/val", "chart: training, validation or both", COMPARE, False, "Chart"),
    Action("seeds", ("f",), "Seeds", "chart: mean and deviation over the seeds of each config (marked models, or all)",
           WATCH, False, "Chart"),
    Action("smoothing", ("S",), "Smooth", "chart: smoothing off, light or strong", CHARTS, False, "Chart"),
    Action("copy", ("Y",), "Copy", "copy the command that starts the same run, a path or a traceback: to the clipboard "
           "(OSC 52), and shown plainly", CONFIGURE | WATCH | RUNS | MODEL, True, "General"),
    Action("show_configure", ("1",), "Conf", "the settings of a run", EVERYWHERE, True),
    Action("show_watch", ("2",), "Watch", "the run", EVERYWHERE, True),
    Action("show_runs", ("3",), "Runs", "the known runs", EVERYWHERE, True),
    Action("resources", ("i",), "Resources", "the machine: in full, or in short", EVERYWHERE),
    Action("messages", ("M",), "Messages", "the last messages of the status line, in full", EVERYWHERE),
    Action("theme", ("t",), "Theme", "the next theme: dark, light, high contrast, terminal's own", EVERYWHERE),
    Action("mouse", ("m",), "Mouse", "use the mouse, or leave it to the terminal for selecting text", EVERYWHERE),
    Action("suspend_process", ("ctrl+z",), "Suspend", "suspend to the shell", EVERYWHERE),
    Action("redraw", ("ctrl+l",), "Redraw", "draw the screen again", EVERYWHERE, browser_key="f9"),
    Action("palette", ("colon",), "Palette", "any action by its name", EVERYWHERE),
    Action("help", ("question_mark",), "Help", "all keys", EVERYWHERE, True),
    Action("leave", ("q", "ctrl+q", "ctrl+c"), "Quit", "leave; a live run that was started here: asks", EVERYWHERE,
           True),
)  # fmt: skip

SEEN_ONLY = frozenset(action.id for action in ACTIONS) - {"leave", "detach", "suspend_process", "redraw"}
"""Actions that are disabled on a screen that is not visible."""


WHILE_STARTING = frozenset(
    (
        "q",
        "ctrl+q",
        "ctrl+c",
        "d",
        "1",
        "2",
        "3",
        "i",
        "M",
        "question_mark",
        "escape",
        "ctrl+z",
        "ctrl+l",
        "f9",
        "ctrl+r",
        "f2",
    )
)
"""Actions that mean the same before and after a run has started; other keys are dropped in between."""


def keys_of(action: str) -> tuple[str, ...]:
    """The keys of an action on any screen, by its id."""
    return tuple(key for each in ACTIONS if each.id == action for key in (*each.keys, each.browser_key) if key)


def actions_of(screen: str) -> tuple[Action, ...]:
    """The actions of a screen, in the order of the table."""
    return tuple(action for action in ACTIONS if screen in action.where)


_PARTS_OF_THE_APP = {
    "steering": ("pause", "stop", "kill", "cancel", "retry", "workers", "resume"),
    "leaving": ("leave", "detach"),
    "run_actions": ("export", "new"),
    "navigation": ("show_configure", "show_watch", "show_runs"),
    "appearance": ("theme", "mouse", "resources"),
    "dialogs": ("messages", "help", "palette", "copy"),
}


class HasParts(Protocol):
    """A screen class with parts that carry out some of its actions."""

    PARTS: ClassVar[Mapping[str, Sequence[str]]]
    """The actions of each part, by the part's attribute name."""


def action_text(action: str, screen: type[HasParts]) -> str:
    """Textual's action text: the action of a part of the screen, else the screen's own, else the app's."""
    if part := _part_for(action, screen.PARTS):  # first: some of Textual's own screen actions have the same name
        return f"part({part!r}, {action!r})"
    if hasattr(screen, f"action_{action}"):
        return action
    part = _part_for(action, _PARTS_OF_THE_APP)
    return f"app.part({part!r}, {action!r})" if part else f"app.{action}"


def _part_for(action: str, parts: Mapping[str, Sequence[str]]) -> str | None:
    return next((part for part, actions in parts.items() if action in actions), None)


def bindings_of(name: str, screen: type[HasParts]) -> list[BindingType]:
    """The keys of the screen called `name`, each with an id so that users can remap it."""
    return [
        Binding(
            ",".join((*action.keys, action.browser_key) if action.browser_key else action.keys),
            action_text(action.id, screen),
            action.label,
            show=action.footer,
            tooltip=action.help,
            id=f"{name}.{action.id}",
        )
        for action in actions_of(name)
    ]
