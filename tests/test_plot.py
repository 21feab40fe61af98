"""Plots: one file, whole or not at all."""

import matplotlib.figure
import pytest

from glt.errors import GltError
from glt.plot import plot_accuracy
from glt.summary import Row


def row(level, test, spread=0.01):
    return Row(level, 0.1 * level, 0.2 * level, 3, test, test, spread, test - 0.8, -0.01, 0.01, test)


CURVES = {"teddy": [row(0, 0.8), row(1, 0.79), row(2, 0.75)], "random": [row(1, 0.6), row(2, 0.5, 0.0)]}


def litter(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG\r\n\x1a\n"), (".svg", b"<?xml")])
def test_an_image_is_written_and_nothing_else(tmp_path, suffix, start):
    path = tmp_path / "plots" / f"it{suffix}"
    plot_accuracy(path, CURVES, "csbm, gcn")
    assert path.read_bytes().startswith(start)
    assert path.stat().st_size > 5_000
    assert litter(path.parent) == [path.name]


def test_what_is_drawn(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, path, **_: drawn.append(figure))
    plot_accuracy(tmp_path / "it.png", CURVES, "csbm, gcn", "roc_auc")
    (axes,) = drawn[0].axes
    assert axes.get_title() == "csbm, gcn"
    assert axes.get_ylabel() == "test roc-auc, %"
    assert [line.get_label() for line in axes.lines] == ["teddy", "random", "dense"]
    assert list(axes.lines[0].get_xdata()) == [10, 20]
    assert list(axes.lines[0].get_ydata()) == [79, 75]
    assert set(axes.lines[2].get_ydata()) == {80}
    assert [text.get_text() for text in axes.texts] == ["20 %", "40 %"], "one curve is labelled"


@pytest.mark.parametrize("curves", [{"teddy": [row(1, 0.7)]}, {"dense": [row(0, 0.8)]}])
def test_one_point_is_enough(tmp_path, curves):
    plot_accuracy(tmp_path / "it.png", curves, "")
    assert (tmp_path / "it.png").stat().st_size > 1_000


def test_a_failure_halfway_leaves_the_old_plot(tmp_path, monkeypatch):
    path = tmp_path / "it.png"
    path.write_bytes(b"old")

    def half(figure, target, **options):
        target.write_bytes(b"\x89PNG")
        raise OSError("disk full")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", half)
    with pytest.raises((OSError, GltError), match="disk full"):
        plot_accuracy(path, CURVES, "")
    assert path.read_bytes() == b"old"
    assert litter(tmp_path) == ["it.png"]


def test_where_nothing_can_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GltError, match="cannot write"):
        plot_accuracy(tmp_path / "file" / "it.png", CURVES, "")
