"""The page of a run in a browser: what is drawn, what follows pointer and keys, and that nothing is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser_pages import CHROMIUM, Browser
from run_directories import RunMaker

from forge_tui import client
from forge_tui.protocol.phases import RunState
from forge_tui.reports.run_report import report_bytes

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; .ci/run-peers installs it")

HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
RATES = (0.001, 0.01, 0.1, 1.0)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, private_home: None) -> Path:
    """A sweep of four rates with three seeds, of which the last failed, and text that would like to be markup."""
    base = tmp_path_factory.mktemp("page")
    maker = RunMaker(base / "runs", now=100_000.0)
    models = []
    for place, rate in enumerate(RATES):
        for seed in range(3):
            known: dict[str, Any] = {"seed": seed, "combination": {"learning_rate": rate, "note": HOSTILE[: 9 + place]}}
            index = 3 * place + seed + 1
            accuracy = 0.9 - place / 10 + seed / 100
            models.append(maker.model(index, epoch=20 + place, validation_accuracy=accuracy, **known))
    failed = maker.failed(13, combination={"learning_rate": 1.0, "note": HOSTILE})
    models.append(replace(failed, failures=(replace(failed.failures[0], message=HOSTILE), failed.failures[1])))
    path = maker.make("rates", RunState.FAILED, models, reason=HOSTILE)
    maker.close()
    with client.attach(path) as run:
        (base / "page.html").write_bytes(report_bytes(run, "html"))
    return base / "page.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def texts(browser: Browser, selector: str) -> list[str]:
    found: list[str] = browser.run(f"[...document.querySelectorAll({selector!r})].map((one) => one.textContent)")
    return found


def count(browser: Browser, selector: str) -> int:
    return int(browser.run(f"document.querySelectorAll({selector!r}).length"))


def point(browser: Browser, selector: str, across: float, down: float, kind: str = "mouseMoved", **more: Any) -> None:
    """Move or press the mouse at a share of an element's width and height."""
    x, y = browser.run(
        f"(() => {{ const one = document.querySelector({selector!r}); one.scrollIntoView({{block: 'center', "
        "behavior: 'instant'}); const box = one.getBoundingClientRect(); "
        f"return [box.x + box.width * {across}, box.y + box.height * {down}]; }})()"
    )
    browser.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)


def press(browser: Browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_opens_without_a_complaint_a_request_or_a_bar_below(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width, dark=dark)
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
    assert browser.run("document.documentElement.scrollWidth") == width
    assert browser.run("document.title") == "Run rates"
    assert browser.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)"
    )
    assert count(browser, "#curves-chart polyline") == 5
    assert count(browser, "#parallel-chart path[stroke-opacity]") == 5
    assert count(browser, "img") == 0


def test_a_script_that_is_not_its_own_does_not_run(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title=2'}))"
    )
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert browser.run("document.title") == "Run rates"
    assert len(browser.complaints()) >= 2


def test_the_pointer_and_the_keys_tell_the_values_of_an_epoch(browser: Browser, page: Path) -> None:
    browser.open(page)
    chart = "#curves-chart [role=group]"
    point(browser, f"{chart} svg", 0.5, 0.5)
    (told,) = texts(browser, "#curves-chart .tip")
    assert told.startswith("epoch 16")
    assert "1. learning_rate 0.001" in told
    point(browser, f"{chart} svg", 0.5, 0.02)
    top = "document.querySelector('#curves-chart {}').getBoundingClientRect().top"
    assert browser.run(f"{top.format('.tip')} >= {top.format('[role=group] svg')} - 1")
    browser.run(f"document.querySelector({chart!r}).focus()")
    press(browser, "Escape")
    press(browser, "Home")
    press(browser, "ArrowRight")
    (told,) = texts(browser, "#curves-chart .tip")
    assert told.startswith("epoch 2")
    assert texts(browser, "#curves-chart [aria-live]") == [told]


def test_metric_axis_view_and_marks_are_chosen(browser: Browser, page: Path) -> None:
    browser.open(page)

    def choose(place: int, value: str) -> None:
        browser.run(
            f"(() => {{ const box = document.querySelectorAll('#curves-chart select')[{place}]; box.value = {value!r}; "
            "box.dispatchEvent(new Event('change')); })()"
        )

    title = "#curves-chart text[font-weight]"
    assert texts(browser, title) == ["validation loss (log)"]
    choose(0, "validation_accuracy")
    assert texts(browser, title) == ["validation accuracy"]
    browser.run("document.querySelector('#curves-chart input').click()")
    assert texts(browser, title) == ["validation accuracy (log)"]
    choose(1, "1")
    assert count(browser, "#curves-chart .legend button") == 13
    marked = "#curves-chart .legend [aria-pressed=true]"
    assert count(browser, marked) == 6
    browser.run("[...document.querySelectorAll('#curves-chart .legend button')].at(-1).click()")
    assert count(browser, marked) == 7
    assert count(browser, "#curves-chart polyline") == 13
    browser.run("document.querySelector('#curves-chart .legend button').click()")
    assert count(browser, marked) == 6


def test_the_table_beside_the_curves_has_the_marked_values(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelector('#curves-chart summary').click()")
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    heads = texts(browser, "#curves-chart thead th")
    assert heads[0] == "Epoch"
    assert len(heads) == 6
    first = texts(browser, "#curves-chart tbody tr:first-child > *")
    assert first[0] == "1"
    assert first[1].endswith(" ± 0")


def test_an_axis_keeps_only_the_configs_within_what_is_dragged(browser: Browser, page: Path) -> None:
    browser.open(page)
    status = "#parallel-chart [role=status]"
    assert texts(browser, status) == ["5 configs"]
    grip = "#parallel-chart g:last-child .grip, #parallel-chart .grip:last-of-type"
    last = {"button": "left", "buttons": 1, "clickCount": 1}
    point(browser, grip, 0.5, 0.0, "mousePressed", **last)
    point(browser, grip, 0.5, 0.3, "mouseMoved", **last)
    point(browser, grip, 0.5, 0.3, "mouseReleased", **last)
    (kept,) = texts(browser, status)
    assert kept.endswith(" of 5 configs")
    assert 0 < int(kept.split()[0]) < 5
    point(browser, grip, 0.5, 0.9, "mousePressed", **last)
    point(browser, grip, 0.5, 0.9, "mouseReleased", **last)
    assert texts(browser, status) == ["5 configs"]


def test_the_keys_go_from_config_to_config(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelector('#parallel-chart [role=group]').focus()")
    press(browser, "ArrowDown")
    press(browser, "ArrowDown")
    (told,) = texts(browser, "#parallel-chart .tip")
    assert told.startswith("1. learning_rate 0.001, ")
    assert told.endswith("validation accuracy 0.91")
    press(browser, "ArrowUp")
    (told,) = texts(browser, "#parallel-chart .tip")
    assert told.endswith("validation accuracy 0.972, so far")
    assert texts(browser, "#parallel-chart [aria-live]") == [told]


def test_tables_are_sorted_by_their_numbers(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelectorAll('#sweep .sortable th button')[1].click()")
    rates = texts(browser, "#sweep .sortable tbody tr > :nth-child(2)")
    assert [float(rate) for rate in rates] == [0.001, 0.01, 0.1, 1.0, 1.0]
    browser.run("document.querySelectorAll('#sweep .sortable th button')[1].click()")
    assert texts(browser, "#sweep .sortable tbody tr > :nth-child(2)") == rates[::-1]
    assert count(browser, "#sweep [aria-sort=descending]") == 1


def test_without_scripts_the_page_is_whole(browser: Browser, page: Path) -> None:
    browser.open(page, script=False)
    tree = browser.send("DOM.getDocument", depth=-1)
    stills = browser.send("DOM.querySelectorAll", nodeId=tree["root"]["nodeId"], selector="#curves-chart .still svg")
    assert len(stills["nodeIds"]) == 1
    assert browser.requests() == [page.as_uri()]


def test_on_paper_everything_is_open(browser: Browser, page: Path) -> None:
    browser.open(page)
    closed = "details:not([open])"
    before = count(browser, closed)
    assert before > 0
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    assert count(browser, closed) == 0
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    assert count(browser, closed) == before


def test_everything_that_can_be_used_or_seen_has_a_name_for_screen_readers(browser: Browser, page: Path) -> None:
    browser.open(page)
    nodes = [node for node in browser.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    named = {"button", "combobox", "checkbox", "link", "region", "image", "table", "navigation"}
    roles = [node["role"]["value"] for node in nodes]
    assert named <= set(roles)
    unnamed = [role for node, role in zip(nodes, roles, strict=True) if role in named and not node["name"]["value"]]
    assert unnamed == []
    assert roles.count("main") == 1
    levels = browser.run("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False))
