"""The colours of a chart, as a stylesheet."""

from __future__ import annotations

SERIES = 8
"""The number of colours for curves; further curves begin again with the first."""

COMPONENTS = (
    *(f"chart--{name}" for name in ("title", "label", "axis", "diverged", "empty")),
    *(f"chart--series-{number}" for number in range(1, SERIES + 1)),
)

# Colours distinguishable with the common kinds of colour blindness (Okabe and Ito 2008), lighter on dark themes.
CSS = """
Chart {
    & > .chart--title { color: $foreground; text-style: bold; }
    & > .chart--label { color: $foreground 75%; }
    & > .chart--axis { color: $foreground 45%; }
    & > .chart--diverged { color: $error-lighten-2; text-style: bold; }
    & > .chart--empty { color: $foreground 60%; }
    & > .chart--series-1 { color: #56b4e9; }
    & > .chart--series-2 { color: #e69f00; }
    & > .chart--series-3 { color: #2fc99a; }
    & > .chart--series-4 { color: #e58bbd; }
    & > .chart--series-5 { color: #f0e442; }
    & > .chart--series-6 { color: #f0713a; }
    & > .chart--series-7 { color: #9d9df5; }
    & > .chart--series-8 { color: #c8c8c8; }
    &:light > .chart--diverged { color: $error; }
    &:light > .chart--series-1 { color: #0072b2; }
    &:light > .chart--series-2 { color: #a86b00; }
    &:light > .chart--series-3 { color: #00785a; }
    &:light > .chart--series-4 { color: #a8447c; }
    &:light > .chart--series-5 { color: #7a7000; }
    &:light > .chart--series-6 { color: #c04400; }
    &:light > .chart--series-7 { color: #4a4ac8; }
    &:light > .chart--series-8 { color: #555555; }
    &:ansi > .chart--label { color: ansi_default; }
    &:ansi > .chart--axis { color: ansi_default; text-style: dim; }
    &:ansi > .chart--empty { color: ansi_default; }
    &:ansi > .chart--series-1 { color: ansi_cyan; }
    &:ansi > .chart--series-2 { color: ansi_yellow; }
    &:ansi > .chart--series-3 { color: ansi_green; }
    &:ansi > .chart--series-4 { color: ansi_magenta; }
    &:ansi > .chart--series-5 { color: ansi_blue; }
    &:ansi > .chart--series-6 { color: ansi_red; }
    &:ansi > .chart--series-7 { color: ansi_bright_cyan; }
    &:ansi > .chart--series-8 { color: ansi_default; }
}
"""
