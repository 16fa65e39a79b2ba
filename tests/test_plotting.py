"""Figures carry text, twins for dark pages, and no remote parts."""

import base64
import hashlib
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from wavelab import display, plotting
from wavelab.errors import InvalidInput


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    """Collect what would be displayed."""
    collected = []
    monkeypatch.setattr(display, "display", lambda *a, **k: collected.append((a, k)))
    monkeypatch.setattr(plotting, "display", lambda *a, **k: collected.append((a, k)))
    plotting.use_style()
    yield collected
    plt.close("all")


def _figure():
    figure, axis = plt.subplots(figsize=(3, 2))
    axis.plot([0, 1, 2], [1, 0, 1], label="a")
    axis.set(xlabel="time (s)", title="A title")
    axis.legend()
    return figure


def _pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) / 255


def test_show_carries_text_and_closes(shown):
    figure = _figure()
    plotting.show(figure, alt="A valley.", caption="A *valley*.")
    (data,), options = shown[0]
    assert options["metadata"]["image/png"]["alt"] == "A valley."
    assert options["metadata"]["image/png"]["caption"] == "A *valley*."
    assert data["text/plain"] == "[figure: A valley.]"
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert not plt.fignum_exists(figure.number)


@pytest.mark.parametrize("alt", ["", "   "])
def test_show_needs_text(alt):
    with pytest.raises(InvalidInput, match="text alternative"):
        plotting.show(_figure(), alt=alt)


def test_dark_twin_lies_under_the_hash_of_the_light_picture(shown, tmp_path, monkeypatch):
    monkeypatch.setenv("WAVELAB_RUN_DIR", str(tmp_path))
    plotting.show(_figure(), alt="A valley.", keep="valley")
    light = base64.b64decode(shown[0][0][0]["image/png"])
    dark = (tmp_path / "dark" / f"{hashlib.sha256(light).hexdigest()}.png").read_bytes()
    assert (tmp_path / "figures" / "valley.png").read_bytes() == light
    assert (tmp_path / "figures" / "valley-dark.png").read_bytes() == dark
    np.testing.assert_allclose(_pixels(light)[0, 0], to_rgb(plotting.PAPER), atol=0.01)
    np.testing.assert_allclose(_pixels(dark)[0, 0], to_rgb(display.DARK[plotting.PAPER]), atol=0.01)
    assert _pixels(dark).max() > 0.85  # the ink is light now


def test_pictures_are_reproducible():
    assert display._png(_figure()) == display._png(_figure())


def test_series_colours_are_legible_on_both_pages():
    def luminance(colour):
        c = np.array(to_rgb(colour))
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    def contrast(a, b):
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for colour in plotting.SERIES:
        assert contrast(colour, plotting.PAPER) >= 3, colour
        assert contrast(colour, display.DARK[plotting.PAPER]) >= 3, colour
    for ink in (plotting.INK, plotting.MUTED):
        assert contrast(ink, plotting.PAPER) >= 4.5
        assert contrast(display.DARK[ink], display.DARK[plotting.PAPER]) >= 4.5


def test_images_layout_and_limits():
    arrays = [np.arange(4.0).reshape(2, 2), -np.ones((2, 2))]
    figure = plotting.images(arrays, ["a", "b"], limits="shared")
    assert [axis.images[0].get_clim() for axis in figure.axes] == [(-1.0, 3.0)] * 2
    figure = plotting.images(arrays, limits="symmetric")
    assert figure.axes[0].images[0].get_clim() == (-3.0, 3.0)
    assert len(plotting.images([arrays[0]] * 7).axes) == 10  # two rows of five


def test_images_bad_input():
    with pytest.raises(InvalidInput, match="1 images and 2 titles"):
        plotting.images([np.zeros((2, 2))], ["a", "b"])
    with pytest.raises(InvalidInput, match="limits"):
        plotting.images([np.zeros((2, 2))], limits="all")


def test_table_is_markdown(shown):
    plotting.table([["haar", 1.23456, 3], ["db4", 12345.6, 4]], ["wavelet", "PSNR (dB)", "taps"])
    text = shown[0][0][0].data
    assert text.splitlines()[1] == "| :-- | --: | --: |"
    assert "| haar | 1.23 | 3 |" in text
    assert "| db4 | 12346 | 4 |" in text


def test_intervals_in_a_table_stay_in_one_line(shown):
    plotting.table([["44 (37–51)", "1.3 ± 0.1"], ["–", "Euler–Maruyama"]], ["COV (%)", "pieces"])
    text = shown[0][0][0].data
    assert "44 (37\u2060–\u206051)" in text and "1.3\u00a0±\u00a00.1" in text
    assert "| – | Euler–Maruyama |" in text


def test_table_refuses_ragged_rows():
    with pytest.raises(InvalidInput, match="2 entries and the header 3"):
        plotting.table([[1, 2]], ["a", "b", "c"])


def test_slider_is_self_contained(shown):
    plotting.explore({"σ = 1": _figure(), "σ = 2": _figure()}, "noise level", "A <valley>", start=1)
    html = shown[0][0][0].data
    assert html.count("data:image/png;base64,") == 6  # two pictures shown, two frames of two
    assert not re.search(r'(src|href)="https?:', html)
    assert "A &lt;valley&gt; (σ = 2)" in html
    assert 'aria-label="noise level"' in html


def test_slider_bad_input():
    with pytest.raises(InvalidInput, match="two figures"):
        plotting.explore({"one": _figure()}, "x", "y")


def test_source_shows_the_code(shown):
    plotting.source(plotting.band)
    assert shown[0][0][0].data.startswith("```python\ndef band(")
