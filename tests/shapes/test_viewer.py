"""Shapes that a reader can turn: what the page holds, and in a real browser that they turn; a still picture without."""

import base64
import shutil

import numpy as np
import pytest

from wavelab.errors import InvalidInput
from wavelab.shapes import viewer
from wavelab.shapes.parametric import shape
from wavelab.shapes.tsdf import surface

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SOFTWARE = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


@pytest.fixture(scope="module")
def volumes():
    return {f"chair {k}": shape("chair", k).grid(32, 0.4) for k in (0, 3)}


@pytest.fixture
def page(monkeypatch, volumes):
    shown = []
    monkeypatch.setattr(viewer, "display", lambda html: shown.append(html.data))
    viewer.turntable(volumes, 'Two "parametric" chairs', size=150)
    return shown[0]


def test_packed_meshes_come_back(volumes):
    mesh = surface(volumes["chair 0"])
    vertices, faces = (base64.b64decode(text) for text in viewer.packed(mesh))
    np.testing.assert_allclose(np.frombuffer(vertices, "<i2").reshape(-1, 3) / 32767, mesh.vertices, atol=2e-5)
    np.testing.assert_array_equal(np.frombuffer(faces, "<u4").reshape(-1, 3), mesh.faces)


def test_the_page_needs_nothing_from_outside_and_has_words(page):
    assert page.count("<canvas") == page.count("data:image/png") == 2
    assert page.count("Two &quot;parametric&quot; chairs (chair 3)") == 2
    assert "http" not in page and 'src="data' in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("scripts", [True, False])
def test_in_a_browser_shapes_turn_or_stand_still(page, tmp_path, scripts):
    from playwright.sync_api import sync_playwright

    path, troubles = tmp_path / "page.html", []
    path.write_text(f"<!doctype html><body>{page}</body>")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE)
        tab = browser.new_context(java_script_enabled=scripts).new_page()
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        tab.goto(path.as_uri())
        canvas, still = tab.locator("canvas").nth(1), tab.locator("img").nth(1)
        if not scripts:
            assert still.is_visible() and not canvas.is_visible()
        else:
            canvas.wait_for(state="visible")
            assert not still.is_visible()
            before = canvas.screenshot()
            canvas.focus()
            canvas.press("ArrowLeft")
            after = canvas.screenshot()
            box = canvas.bounding_box()
            tab.mouse.move(box["x"] + 60, box["y"] + 60)
            tab.mouse.down()
            tab.mouse.move(box["x"] + 100, box["y"] + 70, steps=4)
            tab.mouse.up()
            assert len({before, after, canvas.screenshot()}) == 3
        browser.close()
    assert not troubles


@pytest.mark.parametrize(
    ("volumes", "alt", "words"),
    [
        ({}, "words", "0 shapes"),
        ({str(k): np.zeros((4, 4, 4)) for k in range(7)}, "words", "7 shapes"),
        ({"a": np.zeros((4, 4, 4))}, " ", "text alternative"),
        ({"nothing": np.ones((4, 4, 4))}, "words", "nothing has no surface"),
    ],
)
def test_what_cannot_be_shown_is_refused(volumes, alt, words):
    with pytest.raises(InvalidInput, match=words):
        viewer.turntable(volumes, alt)
