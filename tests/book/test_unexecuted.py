"""What the book shows of a chapter that has not been run."""

from wavelab.course import book, chapters


def test_a_chapter_without_a_run_says_so_and_how_to_run_it(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "run_folder", lambda profile: tmp_path / profile)
    shown = book.prepare_chapter(chapters()[2], "cpu")
    assert "make book CHAPTER=3 PROFILE=cpu" in shown.cells[1].source
    assert shown.cells[0].source.startswith("# ")
    assert not any(cell.get("outputs") for cell in shown.cells)
