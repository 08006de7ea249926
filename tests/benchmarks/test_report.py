from __future__ import annotations

from pathlib import Path

import pytest
from empathetic_bench.documents import render
from empathetic_bench.report import ReportError, fill


def test_a_table_replaces_what_is_between_its_markers() -> None:
    assert fill("a <!-- t -->\nold\n<!-- /t --> b", "t", "new") == "a <!-- t -->\nnew\n<!-- /t --> b"


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ReportError, match="markers"):
        fill("nothing here", "t", "new")


def test_the_documents_show_the_committed_results(root: Path) -> None:
    render(root, check=True)
