"""mystmd reads the same sources without a warning."""

import pytest

from wavelab.course import mystlint


@pytest.mark.skipif(not mystlint.available(), reason="no Node.js or no mystmd: the sources had no second reader")
def test_sources_pass_mystmd_strict(tmp_path):
    assert "Built" in mystlint.lint(tmp_path / "myst")
