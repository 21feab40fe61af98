"""The report in a real headless Chromium, without a network: no errors; it works by mouse, key and touch."""

import csv
import json
import re
import shutil
from contextlib import contextmanager
from itertools import pairwise

import pytest
from cli_runs import finished, tiny
from report_records import board, record, write

from glt.report.make import report

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright to test the page in a browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here to test the page in, e.g. apt install chromium"
)

DESKTOP = {"viewport": {"width": 1300, "height": 900}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 480}, "color_scheme": "light", "is_mobile": True, "has_touch": True}
LOUD = ("error", "warning", "trace")
DRAWN = ("curves", "heat", "cost", "search", "layers", "degrees", "subgraph")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A report of made-up records and of a small real run, whose tickets are drawn."""
    folder = finished(tmp_path_factory.mktemp("page"), tiny(2, "-o", "schedule={name: geometric, levels: [3, 6]}"))
    report([folder, write(folder / "board" / "results.jsonl", board())], folder / "r.html", "Tickets <b>&")
    return folder / "r.html"


@contextmanager
def opened(browser, file, **options):
    """The page, offline; an error in its console is a failure."""
    context = browser.new_context(offline=True, accept_downloads=True, **options)
    page, said = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("console", lambda message: said.append(message.text) if message.type in LOUD else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto(file.as_uri())
    settled(page, "document.querySelectorAll('.plot .main-svg').length > 0")
    yield page
    context.close()
    assert said == []


def column(page, key):
    """The texts of a column."""
    return page.evaluate(
        """key => { const at = [...document.querySelectorAll('thead th')].findIndex(th => th.dataset.key === key);
        return [...document.querySelectorAll('tbody tr')].map(row => row.cells[at].textContent) }""",
        key,
    )


def drawn(page, name):
    """How many shapes a figure has drawn."""
    return page.locator(f"#{name} .main-svg path").count()


def settled(page, what):
    """Wait until it is true; the page's policy forbids what playwright's own way of waiting needs."""
    for _ in range(200):
        if page.evaluate(what):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {what}")


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_everything_is_drawn_and_names_stay_text(browser, page_file):
    with opened(browser, page_file, **DESKTOP) as page:
        assert page.title() == page.locator("h1").inner_text() == "Tickets <b>&"
        assert page.locator("tbody img, .plot img, svg a").count() == 0
        assert "<img src=x onerror=alert(1)>" in column(page, "dataset")
        page.select_option("#setting", label="cora, gcn")
        for name in DRAWN[:5]:
            assert drawn(page, name) > 3, name
            assert len(page.locator(f"#{name}").get_attribute("aria-label")) > 40, name
        assert page.locator("#curves .legend .traces").count() == 6, "three tickets, two controls, dense"
        assert page.locator("#heat .heatmaplayer image, #heat .heatmaplayer path").count() > 0
        assert "no ticket files" in page.locator("figure:has(#degrees) .why").inner_text()
        assert page.locator("#cost .legend .traces").count() == 2, "TEDDY and dense: no other latency is recorded"
        assert "dense: 80.4 at 8" in page.locator("#cost").get_attribute("aria-label")
        page.select_option("#setting", label="csbm, gcn")
        for name in DRAWN[5:]:
            assert drawn(page, name) > 3, name
        assert "No grid" in page.locator("figure:has(#heat) .why").inner_text() or drawn(page, "heat") == 0
        assert page.locator("#sentences dd").inner_text().startswith("The ticket ")


def test_filters_change_rows_and_figures(browser, page_file):
    with opened(browser, page_file, **DESKTOP) as page:
        page.select_option("#setting", label="cora, gcn")
        rows = len(column(page, "method"))
        page.select_option("#filters [name=dataset]", "cora")
        fewer = column(page, "dataset")
        assert 0 < len(fewer) < rows and set(fewer) == {"cora"}
        assert page.locator("#status").inner_text() == f"{len(fewer)} of {rows} rows"
        settled(page, "document.querySelectorAll('#curves .legend .traces').length === 6")
        page.select_option("#filters [name=method]", "ugs")
        assert set(column(page, "method")) == {"dense", "ugs"}, "dense stays: all is measured by it"
        settled(page, "document.querySelectorAll('#curves .legend .traces').length === 2")
        assert page.locator("#heat").is_hidden() and page.locator("figure:has(#heat) .why").is_visible()
        page.click("#filters button[type=reset]")
        settled(page, f"document.querySelectorAll('tbody tr').length === {rows}")
        page.uncheck("#filters [name=controls]")
        assert set(column(page, "control")) == {""}
        page.fill("#filters [name=text]", "grid cora")
        assert column(page, "options") == ["schedule grid"] * 4
        page.fill("#filters [name=text]", "no such thing")
        assert page.locator("tbody").inner_text() == "No row is left by the filters."
        settled(page, "document.querySelector('#curves').hidden")


def test_sorting_by_mouse_and_by_key(browser, page_file):
    with opened(browser, page_file, **DESKTOP) as page:
        head = page.locator("th[data-key=test]")
        assert head.get_attribute("aria-sort") is None
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        values = [float(text.split(" ")[0]) for text in column(page, "test")]
        assert values == sorted(values, reverse=True) and len(set(values)) > 3
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert [float(text.split(" ")[0]) for text in column(page, "test")] == values[::-1]
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Space")
        assert page.locator("th[data-key=weight]").get_attribute("aria-sort") == "descending"
        assert page.locator("th[aria-sort]").count() == 1
        page.click("th[data-key=difference] button")
        texts = column(page, "difference")
        assert "" not in texts[: texts.index("")], "what is unknown comes last"
        assert not any(texts[texts.index("") :])


def test_by_keyboard_alone(browser, page_file):
    with opened(browser, page_file, **DESKTOP) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0, "it shows itself"
        assert page.evaluate(outline) == "solid"
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#results"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == "dataset"
        page.keyboard.press("ArrowDown")
        assert len(set(column(page, "dataset"))) == 1
        page.locator(".scroll").focus()
        assert page.evaluate(outline) == "solid"
        names = page.evaluate(
            """[...document.querySelectorAll('button, select, input')].filter(e => e.offsetParent)
            .map(e => e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent)"""
        )
        assert len(names) > 30 and all(name.strip() for name in names)
        levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
        assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))
        assert all(page.locator(part).count() == 1 for part in ("header", "main", "footer", "nav"))


def test_dark_as_the_system_says_and_by_the_button(browser, page_file):
    with opened(browser, page_file, **{**DESKTOP, "color_scheme": "dark"}) as page:
        dark = background(page)
        plot = "getComputedStyle(document.querySelector('#curves .main-svg')).backgroundColor"
        dark_plot = page.evaluate(plot)
        assert page.locator("#theme").get_attribute("aria-pressed") == "true"
        page.click("#theme")
        assert page.locator("#theme").get_attribute("aria-pressed") == "false"
        light, light_plot = background(page), page.evaluate(plot)

        def brightness(colour):
            return sum(map(int, re.findall(r"\d+", colour)[:3]))

        assert brightness(dark) < 150 < 600 < brightness(light)
        assert brightness(dark_plot) < 150 < 600 < brightness(light_plot)
    with opened(browser, page_file, **DESKTOP) as page:
        assert background(page) == light
        page.emulate_media(color_scheme="dark")
        settled(page, "document.querySelector('#theme').getAttribute('aria-pressed') === 'true'")
        assert (background(page), page.evaluate(plot)) == (dark, dark_plot)


def test_text_stands_out_in_both_themes(browser, page_file):
    contrast = """names => {
        const probe = document.body.appendChild(document.createElement('span'));
        const light = name => {
            probe.style.color = `var(--${name})`;
            const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).map(v => v / 255)
                .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b;
        };
        return names.flatMap(name => ['card', 'page', 'shade'].map(back => {
            const [a, b] = [light(name), light(back)].sort((x, y) => y - x);
            return [name, back, (a + .05) / (b + .05)];
        }));
    }"""
    for scheme in ("light", "dark"):
        with opened(browser, page_file, **{**DESKTOP, "color_scheme": scheme}) as page:
            text = page.evaluate(contrast, ["ink", "soft", "accent", "better", "worse"])
            assert [each for each in text if each[2] < 4.5] == [], scheme
            curves = page.evaluate(contrast, [f"c{i}" for i in range(8)])
            assert [each for each in curves if each[1] == "card" and each[2] < 3] == [], scheme


def test_a_phone_scrolls_the_table_and_not_the_page(browser, page_file):
    with opened(browser, page_file, **PHONE, reduced_motion="reduce") as page:
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        box = page.locator(".scroll")
        assert box.evaluate("e => e.scrollWidth > e.clientWidth && e.scrollHeight > e.clientHeight")
        box.evaluate("e => e.scrollTo(200, 200)")
        gap = page.evaluate(
            """document.querySelector('thead th').getBoundingClientRect().top
            - document.querySelector('.scroll').getBoundingClientRect().top"""
        )
        assert abs(gap) < 3, "the head stays"
        for name in DRAWN:
            if page.locator(f"#{name}").is_visible():
                assert page.locator(f"#{name} .main-svg").first.bounding_box()["width"] <= 390
        small = page.evaluate(
            "[...document.querySelectorAll('#filters select, .tools button')].filter(e => e.offsetHeight < 40).length"
        )
        assert small == 0, "a finger needs room"


def test_downloads(browser, page_file, tmp_path):
    with opened(browser, page_file, **DESKTOP) as page:

        def fetched(button):
            with page.expect_download() as waited:
                page.click(button)
            path = tmp_path / waited.value.suggested_filename
            waited.value.save_as(path)
            return path

        page.uncheck("#filters [name=controls]")
        page.select_option("#filters [name=dataset]", "cora")
        rows = list(csv.DictReader(fetched("#csv").open()))
        assert len(rows) == len(column(page, "dataset")) and {row["dataset"] for row in rows} == {"cora"}
        assert {row["kind"] for row in rows} == {"dense", "ticket"}
        same = json.loads(fetched("#json").read_text())
        assert [float(row["test"]) for row in rows] == [row["test"] for row in same]
        cells = page.evaluate("['=1+1', '-x', -0.5, 'a,\"b', null].map(csvCell)")
        assert cells == ["'=1+1", "'-x", "-0.5", '"a,""b"', ""]
        svg = fetched("figure:has(#curves) button:has-text('SVG')").read_text()
        assert svg.startswith("<svg") and svg.count("<path") > 5
        assert fetched("figure:has(#curves) button:has-text('PNG')").read_bytes().startswith(b"\x89PNG")


def test_a_page_of_dense_records_alone_says_why_figures_are_empty(browser, tmp_path):
    bare = {key: None for key in ("densities", "search_s", "search_epochs", "params", "last_test")}
    report([write(tmp_path / "a.jsonl", [record(0, seed, 0.8, **bare) for seed in range(2)])], tmp_path / "r.html")
    context = browser.new_context(offline=True, **DESKTOP)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "r.html").as_uri())
    whys = page.locator(".grid .why")
    assert [why.strip() != "" for why in whys.all_inner_texts()] == [True] * len(DRAWN) and errors == []
    assert whys.nth(0).inner_text().startswith("No tickets recorded")
    assert page.locator(".plot:visible").count() == 0
    assert page.locator("#filters select").count() == 0 and column(page, "test") == ["80.0 ± 0.0"]
    context.close()
