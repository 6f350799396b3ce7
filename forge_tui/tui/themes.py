"""The themes: dark, light, high contrast, and the terminal's own 16 colours."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="dark", primary="#5fafff", secondary="#8787d7", accent="#ffaf5f", success="#5fd787", warning="#ffd75f",
    error="#ff5f5f", foreground="#d7d7d7", background="#121417", surface="#181b20", panel="#22262d", dark=True,
)  # fmt: skip
LIGHT = Theme(
    name="light", primary="#005faf", secondary="#5f5faf", accent="#af5f00", success="#007a3d", warning="#875f00",
    error="#c0201c", foreground="#1c1c1c", background="#f8f8f6", surface="#eeeeea", panel="#e0e0da", dark=False,
)  # fmt: skip
CONTRAST = Theme(
    name="contrast", primary="#00d7ff", secondary="#ffffff", accent="#ffff00", success="#00ff5f", warning="#ffff00",
    error="#ff5f5f", foreground="#ffffff", background="#000000", surface="#000000", panel="#1c1c1c", dark=True,
)  # fmt: skip

OURS = (DARK, LIGHT, CONTRAST)
TEXTUAL_NAMES = {"dark": "dark", "light": "light", "contrast": "contrast", "ansi": "ansi-dark"}
