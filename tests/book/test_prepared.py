"""What the book shows of a chapter, run or not."""

import nbformat

from wavelab.course import book, chapters


def test_a_chapter_without_a_run_says_so_and_how_to_run_it(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "run_folder", lambda profile: tmp_path / profile)
    shown = book.prepare_chapter(chapters()[2], "cpu")
    assert "make book CHAPTER=3 PROFILE=cpu" in shown.cells[1].source
    assert shown.cells[0].source.startswith("# ")
    assert not any(cell.get("outputs") for cell in shown.cells)


def test_progress_bars_of_a_run_stay_out_of_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "run_folder", lambda profile: tmp_path)
    chapter = chapters()[0]
    bar = nbformat.v4.new_output("display_data", {book.WIDGET: {"model_id": "1"}, "text/plain": "0/3"})
    told = nbformat.v4.new_output("stream", text="done")
    path = book.executed(chapter, "cpu")
    path.parent.mkdir()
    state = {"widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2}}}
    cells = [nbformat.v4.new_code_cell("walk()", outputs=[bar, told])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=state), path)
    shown = book.prepare_chapter(chapter, "cpu")
    assert shown.cells[0].outputs == [told]
    assert "widgets" not in shown.metadata  # with them the page would load scripts from elsewhere
