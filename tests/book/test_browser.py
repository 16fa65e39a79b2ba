"""The built book in a real browser: it reads offline, on a phone, in the dark and with a screen reader."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading

import pytest
import yaml

from wavelab.course import book, run
from wavelab.paths import BUILD, ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium here, so the book was not opened in a browser", allow_module_level=True)

from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
PAGES = [TOC["root"], *(entry["file"] for part in TOC["parts"] for entry in part["chapters"]), "search"]
CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]
# A browser asks for much of its own accord; these flags keep it to the pages.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="session")
def html():
    """The book, built from the smoke runs of all chapters, every second one of which runs beside the others."""
    names = [page.rsplit("/", 1)[-1] for page in CHAPTERS]
    command = [sys.executable, "-m", "wavelab.course", "run", *names[1::2], "--profile", "smoke"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as beside:
        assert run(names[::2], "smoke") and beside.wait() == 0, "a chapter failed under smoke"
    return book.build("smoke", BUILD / "test-book").parent


@pytest.fixture(scope="session")
def server(html):
    """The address at which the book is served on this machine."""
    handler = functools.partial(_Silent, directory=html)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser):
    """Open a page and return it with everything that went wrong on the way."""
    contexts = []

    def opened(address, width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(180_000)  # a machine with other work to do is slow, not broken
        contexts.append(context)
        page, troubles = context.new_page(), []
        origin = address.split("/", 3)[2]
        page.on("console", lambda m: troubles.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda e: troubles.append(f"error: {e}"))
        page.on("requestfailed", lambda r: troubles.append(f"failed: {r.url}"))
        page.on("response", lambda r: troubles.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.on("request", lambda r: None if _is_own(r.url, origin) else troubles.append(f"external: {r.url}"))
        page.goto(address, wait_until="load")
        page.wait_for_function("!window.MathJax || !MathJax.startup || MathJax.startup.promise.then(() => true)")
        return page, troubles

    yield opened
    for context in contexts:
        context.close()


def _is_own(url, origin):
    return url.startswith(("file:", "data:", "blob:")) or url.split("/", 3)[2:3] == [origin] != [""]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page_name", PAGES)
def test_page_reads_well(page_name, scheme, html, visit):
    """One visit, all complaints together: opening a page takes longer than looking at it."""
    page, troubles = visit(f"file://{html}/{page_name}.html", scheme=scheme)
    page.wait_for_timeout(200)
    assert page.title()
    complaints = list(troubles)  # before axe asks for style sheets once more, which no browser lets it have from disk
    complaints += [*images_without_words(page), *serious_violations(page)]
    if page_name in [*CHAPTERS, "notation"]:
        complaints += formulas_not_drawn(page)
    if page_name in CHAPTERS:
        complaints += [*figures_of_the_other_scheme(page, scheme), *wrong_colab_links(page, page_name)]
    assert complaints == []


@pytest.mark.parametrize("page_name", PAGES)
def test_opens_over_http_without_a_request_elsewhere(page_name, server, visit):
    page, troubles = visit(f"{server}/{page_name}.html")
    page.wait_for_timeout(200)
    assert troubles == []


@pytest.mark.parametrize("page_name", PAGES)
def test_phone_does_not_scroll_sideways(page_name, html, visit):
    page, _ = visit(f"file://{html}/{page_name}.html", width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def images_without_words(page):
    found = page.evaluate(
        "[...document.querySelectorAll('.bd-main img')].map(i => [i.getAttribute('src'), i.alt, i.naturalWidth])"
    )
    others = page.evaluate("[...document.querySelectorAll('img')].map(i => i.alt)")
    for source, words, width in found:
        if not words.strip() or not width:
            yield f"image {source[:80]}: alternative {words!r}, width {width}"
    yield from (f"a file's name as an alternative: {words}" for words in others if ".png" in words)


def formulas_not_drawn(page):
    written = page.evaluate("document.querySelectorAll('.math').length")
    drawn = page.evaluate(
        "[...document.querySelectorAll('.math')].filter(m => m.querySelector('mjx-container svg')).length"
    )
    wrong = page.evaluate("document.querySelectorAll('[data-mml-node=merror]').length")
    return [] if written == drawn > 0 == wrong else [f"{written} formulas, {drawn} drawn, {wrong} with an error"]


def figures_of_the_other_scheme(page, scheme):
    if page.evaluate("document.documentElement.dataset.theme") != scheme:
        yield f"the theme is not {scheme}"
    visible = page.evaluate(
        "[...document.querySelectorAll('.cell_output img')].filter(i => i.offsetParent).map(i => i.className)"
    )
    if not visible:
        yield "no figure"
    for name in visible:
        if f"only-{scheme}" not in name and name != "dark-light":  # the theme's word for one picture in both schemes
            yield f"figure of class {name}"


def serious_violations(page):
    for v in Axe().run(page).response["violations"]:
        if v["impact"] in ("serious", "critical"):
            yield f"{v['id']}: {v['help']}: {[n['html'][:160] for n in v['nodes'][:4]]}"


def wrong_colab_links(page, page_name):
    links = page.eval_on_selector_all("a[href*='colab.research.google.com']", "links => links.map(a => a.href)")
    if not links or os.path.basename(links[0]) != f"{os.path.basename(page_name)}.ipynb":
        yield f"Colab's button leads to {links[:1]}"
    begin = book.repository().replace("https://", "https://colab.research.google.com/").split("/")[0]
    for link in links:
        if not (ROOT / link.split("/blob/main/")[1]).is_file() or not link.startswith(begin):
            yield f"no notebook: {link}"


def test_search_finds_daubechies(server, visit):
    page, troubles = visit(f"{server}/search.html?q=Daubechies")
    page.wait_for_selector("#search-results li a")
    titles = [link.inner_text() for link in page.query_selector_all("#search-results li a")]
    assert any("Filter banks" in title for title in titles), titles
    assert troubles == []


def test_slider_changes_the_figure(html, visit):
    page, _ = visit(f"file://{html}/{CHAPTERS[0]}.html")
    slider = page.query_selector(".explore input[type=range]")
    picture = page.query_selector(".explore img.only-light")
    before, label = picture.get_attribute("src"), page.inner_text(".explore output")
    slider.evaluate("s => { s.value = s.value === s.max ? s.min : s.max; s.dispatchEvent(new Event('input')); }")
    assert picture.get_attribute("src") != before
    assert page.inner_text(".explore output") != label
