"""Edge lists: the three formats hold the same, and a bad file is one line."""

import importlib.util
import os
import pickle

import numpy as np
import pytest

from glt.edgelist import SUFFIXES, EdgeList, check_suffix, read, write
from glt.errors import GltError

ARCS = np.array([[0, 1, 1, 2, 3], [1, 0, 2, 1, 3]])
COLUMNS = {"weight": np.array([0.1, 0.2, 1 / 3, 4e-300, 5.0]), "kind": np.arange(5), "flag": np.arange(5) % 2 == 0}

parquet = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")
formats = pytest.mark.parametrize(
    "suffix", [pytest.param(s, marks=parquet if s == ".parquet" else ()) for s in SUFFIXES]
)


def refused(call, *words):
    with pytest.raises(GltError) as error:
        call()
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value), str(error.value)


def same(one, two):
    return (
        np.array_equal(one.arcs, two.arcs)
        and one.arcs.dtype == two.arcs.dtype == np.int64
        and one.columns.keys() == two.columns.keys()
        and all(v.shape == two.columns[k].shape and (v == two.columns[k]).all() for k, v in one.columns.items())
    )


@formats
def test_a_round_trip_with_columns(tmp_path, suffix):
    path = tmp_path / "made" / f"it{suffix}"
    edges = EdgeList(ARCS, 4, COLUMNS)
    write(path, edges)
    again = read(path)
    assert same(again, edges)
    assert again.num_nodes == 4
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@formats
@pytest.mark.parametrize("to", SUFFIXES)
def test_formats_turn_into_each_other(tmp_path, suffix, to):
    pytest.importorskip("pyarrow")
    write(tmp_path / f"a{suffix}", EdgeList(ARCS, 4, COLUMNS))
    write(tmp_path / f"b{to}", read(tmp_path / f"a{suffix}"))
    assert same(read(tmp_path / f"b{to}"), EdgeList(ARCS, 4, COLUMNS))


@formats
def test_an_edge_list_without_columns(tmp_path, suffix):
    write(tmp_path / f"it{suffix}", EdgeList(ARCS, 4))
    assert same(read(tmp_path / f"it{suffix}"), EdgeList(ARCS, 4))


def test_an_array_keeps_its_shape_and_the_number_of_nodes(tmp_path):
    edges = EdgeList(ARCS, 9, {"edge_attr": np.arange(15.0).reshape(5, 3)})
    write(tmp_path / "it.npz", edges)
    again = read(tmp_path / "it.npz")
    assert again.num_nodes == 9 and same(again, edges)


def test_what_has_no_row_per_arc_is_left_out(tmp_path):
    np.savez(tmp_path / "it.npz", edge_index=ARCS.astype(np.int16), x=np.zeros((4, 2)), w=np.arange(5), num_nodes=6)
    edges = read(tmp_path / "it.npz")
    assert edges.arcs.dtype == np.int64
    assert (edges.num_nodes, set(edges.columns)) == (6, {"w"})


@formats
def test_the_number_of_nodes_can_be_given(tmp_path, suffix):
    path = tmp_path / f"it{suffix}"
    write(path, EdgeList(ARCS, 4))
    assert read(path).num_nodes == 4
    assert read(path, num_nodes=7).num_nodes == 7, "what the user gives counts"


@formats
def test_no_arcs_at_all(tmp_path, suffix):
    path = tmp_path / f"it{suffix}"
    write(path, EdgeList(ARCS[:, :0], 3))
    try:
        again = read(path, num_nodes=3)
    except GltError as error:
        assert "\n" not in str(error)
    else:
        assert again.arcs.shape == (2, 0) and again.num_nodes == 3


def test_columns_of_a_table_are_carried(tmp_path):
    path = tmp_path / "it.csv"
    path.write_text("since,target,source,name\n2001,1,0,a\n1999,0,1,b\n")
    edges = read(path)
    assert edges.arcs.tolist() == [[0, 1], [1, 0]]
    assert edges.columns["since"].tolist() == [2001, 1999]
    assert edges.columns["name"].tolist() == ["a", "b"]


def test_text_goes_from_table_to_table(tmp_path):
    path = tmp_path / "it.csv"
    path.write_text("source,target,name\n0,1,a\n1,0,b c\n")
    write(tmp_path / "again.csv", read(path))
    assert (tmp_path / "again.csv").read_text() == path.read_text()


@formats
@pytest.mark.parametrize(
    "columns",
    [
        {"name": np.array(["a", "b", "c", "d", "e"], dtype=object)},
        {"name": np.array(["a", "b", "c", "d", "e"])},
        {"file": np.arange(5)},
        {"edge_index": np.arange(5)},
        {"num_nodes": np.arange(5)},
        {"source": np.arange(5)},
        {"two": np.arange(10).reshape(5, 2)},
        {"self": np.arange(5)},
    ],
    ids=["objects", "text", "file", "edge_index", "num_nodes", "source", "two a row", "self"],
)
def test_a_column_comes_back_or_is_refused_and_is_never_a_pickle(tmp_path, suffix, columns):
    path, edges = tmp_path / f"it{suffix}", EdgeList(ARCS, 4, columns)
    try:
        write(path, edges)
    except GltError as error:
        assert "\n" not in str(error) and not list(tmp_path.iterdir())
        return
    again = read(path)
    assert np.array_equal(again.arcs, ARCS)
    assert again.columns.keys() == columns.keys()
    for name, column in columns.items():
        assert [np.array(item).tolist() for item in again.columns[name]] == column.tolist()


def test_where_keeps_the_rows_of_kept_arcs():
    kept = EdgeList(ARCS, 4, COLUMNS).where(np.array([True, False, False, True, True]))
    assert kept.arcs.tolist() == [[0, 2, 3], [1, 1, 3]]
    assert kept.columns["kind"].tolist() == [0, 3, 4]
    assert kept.num_nodes == 4


def test_it_is_a_graph_for_pyg():
    data = EdgeList(ARCS, 6).data()
    assert data.num_nodes == 6 and data.edge_index.tolist() == ARCS.tolist()


# --- bad files


@pytest.mark.parametrize("name", ["it", "it.txt", "it.npz.gz", "it.CSV.bak"])
def test_other_suffixes_are_refused(tmp_path, name):
    for call in (check_suffix, read, lambda path: write(path, EdgeList(ARCS, 4))):
        refused(lambda call=call: call(tmp_path / name), ".npz, .csv, .parquet")
    assert not list(tmp_path.iterdir())


@formats
def test_there_has_to_be_a_file(tmp_path, suffix):
    refused(lambda: read(tmp_path / f"none{suffix}"), f"none{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    refused(lambda: read(tmp_path / f"folder{suffix}"), f"folder{suffix}")
    refused(lambda: write(tmp_path / f"folder{suffix}", EdgeList(ARCS, 4)), f"folder{suffix}")


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@formats
def test_garbage_and_pickles_are_refused(tmp_path, suffix):
    path = tmp_path / f"it{suffix}"
    for content in (
        b"",
        b"\n",
        b"\0" * 100,
        np.random.default_rng(0).bytes(10_000),
        pickle.dumps(Harmful(tmp_path / "harm")),
    ):
        path.write_bytes(content)
        refused(lambda: read(path), path.name)
    assert not (tmp_path / "harm").exists()


def test_a_pickled_array_is_refused(tmp_path):
    harmful = np.array([Harmful(tmp_path / "harm"), None], dtype=object)
    np.savez(tmp_path / "it.npz", edge_index=ARCS, extra=harmful)
    refused(lambda: read(tmp_path / "it.npz"), "it.npz")
    assert not (tmp_path / "harm").exists()


@formats
@pytest.mark.parametrize("kind", ["truncated", "changed"])
def test_a_damaged_file_is_refused_or_harmless(tmp_path, suffix, kind):
    path = tmp_path / f"it{suffix}"
    write(path, EdgeList(np.tile(ARCS, 20), 4, {"w": np.random.default_rng(0).random(100)}))
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 150)):
        changed = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        path.write_bytes(whole[:place] if kind == "truncated" else changed)
        try:
            read(path)
        except GltError as error:
            assert "\n" not in str(error)


def test_one_array_alone_is_no_npz(tmp_path):
    with (tmp_path / "it.npz").open("wb") as file:
        np.save(file, ARCS)
    refused(lambda: read(tmp_path / "it.npz"), "it.npz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"edges": ARCS}, "edge_index"),
        ({"edge_index": ARCS.T}, "[5, 2]"),
        ({"edge_index": ARCS[0]}, "[5]"),
        ({"edge_index": ARCS.astype(float)}, "integers"),
        ({"edge_index": ARCS > 0}, "integers"),
        ({"edge_index": ARCS, "num_nodes": np.array([4, 5])}, "num_nodes"),
        ({"edge_index": ARCS, "num_nodes": np.array("four")}, "it.npz"),
        ({"edge_index": ARCS, "num_nodes": np.array(4.5)}, "num_nodes"),
        ({"edge_index": ARCS, "num_nodes": np.array(-1)}, "num_nodes"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "it.npz", **arrays)
    refused(lambda: read(tmp_path / "it.npz"), words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n0,1\n", "source"),
        ("source,b\n0,1\n", "target"),
        ("source target\n0 1\n", "source"),
        ("source,target\n0,x\n", "integers"),
        ("source,target\n0,\n", "integers"),
        ("source,target\n0.5,1\n", "integers"),
        ("source,target\n99999999999999999999,1\n", "integers"),
        ("source,target\n18446744073709551615,1\n", "it.csv"),
        ("source,target\n0,1\n1,0,3\n", "it.csv"),
        ("source,target\n0,1,5\n1,0,3\n", "it.csv"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, text, words):
    (tmp_path / "it.csv").write_text(text)
    refused(lambda: read(tmp_path / "it.csv"), words)


@formats
def test_a_failure_halfway_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    import pandas as pd

    path = tmp_path / f"it{suffix}"
    write(path, EdgeList(ARCS, 4))
    old = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", fail)
    with pytest.raises((OSError, GltError), match="disk full"):
        write(path, EdgeList(ARCS[:, :2], 4))
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_without_pyarrow_the_fix_is_named(tmp_path, monkeypatch):
    import pandas as pd

    def missing(*args, **kwargs):
        raise ImportError("no pyarrow")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    monkeypatch.setattr(pd, "read_parquet", missing)
    refused(lambda: write(tmp_path / "it.parquet", EdgeList(ARCS, 4)), "pip install")
    assert not list(tmp_path.iterdir())
    refused(lambda: read(tmp_path / "it.parquet"), "pip install")
