import math

import pytest
import torch
from reference.graphs import arcs_of, small_sbm

from glt.check import check_data
from glt.errors import GltError

MASKS = ("train_mask", "val_mask", "test_mask")


def refused(data, *said):
    with pytest.raises(GltError) as error:
        check_data(data)
    assert "\n" not in str(error.value)
    for part in said:
        assert part in str(error.value)


@pytest.mark.parametrize("form", ["dense", "csr", "coo", "double"])
def test_good_data_passes(sbm, form):
    forms = {"csr": torch.Tensor.to_sparse_csr, "coo": torch.Tensor.to_sparse_coo, "double": torch.Tensor.double}
    sbm.x = forms.get(form, lambda x: x)(sbm.x)
    before = sbm.clone()
    check_data(sbm)
    assert sbm.keys() == before.keys()


@pytest.mark.parametrize("name", ["edge_weight", "edge_attr"])
def test_arcs_have_one_row_each(sbm, name):
    sbm[name] = torch.ones(7)
    refused(sbm, f"data.{name} is [7], but there are {sbm.num_edges} arcs: one row per arc")


def test_labels_may_be_missing_outside_the_masks(sbm):
    sbm.test_mask[7] = sbm.val_mask[7] = sbm.train_mask[7] = False
    sbm.y[7] = -1
    check_data(sbm)


def test_loops_and_isolated_nodes_are_fine(sbm):
    sbm.edge_index = arcs_of((0, 0), (1, 2), (2, 1))
    check_data(sbm)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_features_must_be_finite(value, sbm):
    sbm.x[4, 2] = value
    refused(sbm, "data.x", "row 4", "nan_to_num")
    for form in (torch.Tensor.to_sparse_csr, torch.Tensor.to_sparse_coo):
        data = sbm.clone()
        data.x = form(sbm.x)
        refused(data, "data.x", "NaN or infinite")


@pytest.mark.parametrize("x", [None, torch.ones(60), torch.ones(60, 2, dtype=torch.int64), torch.ones(60, 2, 2)])
def test_features_must_be_a_float_matrix(x, sbm):
    if x is None:
        del sbm.x
    else:
        sbm.x = x
    refused(sbm, "data.x must be float [nodes, features]")


@pytest.mark.parametrize("kind", [torch.int32, torch.float32])
def test_arcs_must_be_int64(kind, sbm):
    sbm.edge_index = sbm.edge_index.to(kind)
    refused(sbm, "int64 of shape [2, arcs]", str(kind).removeprefix("torch."))


def test_arcs_must_be_there(sbm):
    del sbm.edge_index
    refused(sbm, "data.edge_index is missing")


def test_arcs_must_join_nodes_that_have_features(sbm):
    sbm.edge_index[0, 3] = 60
    refused(sbm, "node 60", "60 nodes")


@pytest.mark.parametrize("edge_index", [arcs_of(), arcs_of((0, 0), (5, 5))])
def test_there_must_be_an_edge(edge_index, sbm):
    sbm.edge_index = edge_index
    refused(sbm, "no edges besides self-loops")


@pytest.mark.parametrize(
    ("y", "have"),
    [
        (None, "missing"),
        (torch.zeros(60), "float32 [60]"),
        (torch.zeros(60, dtype=torch.int32), "int32 [60]"),
        (torch.zeros(60, 1, dtype=torch.int64), "int64 [60, 1]"),
        (torch.zeros(59, dtype=torch.int64), "int64 [59]"),
    ],
)
def test_labels_must_be_one_class_per_node(y, have, sbm):
    sbm.y = y
    refused(sbm, "data.y must be int64 [60]", f"got {have}")


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(
    ("mask", "have"),
    [
        (None, "missing"),
        (torch.ones(60, 10, dtype=torch.bool), "bool [60, 10]"),
        (torch.ones(59, dtype=torch.bool), "bool [59]"),
        (torch.arange(5), "int64 [5]"),
        (torch.ones(60), "float32 [60]"),
    ],
)
def test_masks_must_be_bool_and_of_one_split(name, mask, have, sbm):
    if mask is None:
        del sbm[name]
    else:
        sbm[name] = mask
    refused(sbm, f"data.{name} must be bool [60]", f"got {have}", f"data.{name}[:, 0]")


@pytest.mark.parametrize("name", MASKS)
def test_masks_must_select_a_node(name, sbm):
    sbm[name] = torch.zeros(60, dtype=torch.bool)
    refused(sbm, f"data.{name} selects no node")


@pytest.mark.parametrize("name", MASKS)
def test_selected_nodes_must_have_labels(name):
    data = small_sbm()
    node = int(data[name].nonzero()[2])
    data.y[node] = -1
    refused(data, f"node {node} is in data.{name}", "y = -1")
