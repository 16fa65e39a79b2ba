"""Photograph a built page: shot.py PAGE.html OUT.png [width] [light|dark] [from] [to], heights in pixels."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

page, out, width, scheme, top, bottom = (*sys.argv[1:], *("1280", "light", "0", "0")[len(sys.argv) - 3 :])
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    opened = browser.new_page(viewport={"width": int(width), "height": 1000}, color_scheme=scheme)
    opened.goto(f"file://{Path(page).resolve()}", wait_until="load")
    opened.wait_for_function("!window.MathJax || !MathJax.startup || MathJax.startup.promise.then(() => true)")
    opened.wait_for_timeout(500)
    height = opened.evaluate("document.documentElement.scrollHeight")
    low = int(bottom) or height
    opened.set_viewport_size({"width": int(width), "height": height})
    clip = {"x": 0, "y": int(top), "width": int(width), "height": min(low, height) - int(top)}
    opened.screenshot(path=out, clip=clip)
    print(height)
