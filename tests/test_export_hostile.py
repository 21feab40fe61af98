"""A compact model's file may come from anybody: it is refused in one line, or it loads and can be run."""

import copy
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from test_backbones import FEATURES, graph
from test_export import of

from glt.compact.graphs import Prepared
from glt.compact.ops import Expand
from glt.errors import GltError
from glt.export import export, load

KEY = "glt-compact"
MODELS = {"gcn": {"storage": "csr", "reorder": True}, "gat": {}, "transformer": {}, "deepergcn": {"words": 1.0}}


@pytest.fixture(scope="module", params=MODELS)
def content(request, tmp_path_factory):
    """(header, tensors, folder) of a good file."""
    folder = tmp_path_factory.mktemp(request.param)
    with safe_open(export(of(request.param, **MODELS[request.param]), folder / "it.safetensors"), "pt") as file:
        return json.loads(file.metadata()[KEY]), {k: file.get_tensor(k) for k in file.keys()}, folder  # noqa: SIM118


def tried(header, tensors, folder):
    """None if it runs, on its graph and on another; else why it was refused."""
    path = folder / "changed.safetensors"
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={KEY: json.dumps(header)})
    try:
        made = load(path)
    except GltError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        return str(error)
    if made.ready is not None:
        made()
    if made.features == FEATURES and not made.bound:
        made(graph(seed=2))
    return None


def test_what_was_written_is_good(content):
    assert tried(*content) is None


def changes(tensor):
    """(name, tensor, whether that cannot be right) of other tensors than this one."""
    yield "longer", torch.cat([tensor, tensor[:1]]), True
    yield "shorter", tensor[:-1], tensor.size(0) > 0
    yield "of more dimensions", tensor.unsqueeze(0), True
    yield "none", tensor[:0], tensor.size(0) > 0
    if tensor.is_floating_point():
        yield "double", tensor.double(), True
        yield "whole", tensor.long(), True
        return
    yield "numbers", tensor.float(), True
    if tensor.dtype == torch.int32 and tensor.numel():
        for number in (-1, 10**6, 2**31 - 1):
            changed = tensor.clone()
            changed[-1] = number
            yield f"{number} at its end", changed, True
            yield f"{number} everywhere", torch.full_like(tensor, number), True
        yield "longer numbers", tensor.long() * 2**40, bool(tensor.any())
        yield "reversed", tensor.flip(0), False


def test_every_tensor_is_looked_at(content):
    header, tensors, folder = content
    for name, tensor in tensors.items():
        missing = {k: v for k, v in tensors.items() if k != name}
        optional = name.rsplit("/")[-1] in ("bias", "scale", "shift", "weight", "place") or "/take_" in name
        assert tried(header, missing, folder) or optional or "/put" in name, f"{name} is missing"
        for what, changed, wrong in changes(tensor):
            refused = tried(header, {**tensors, name: changed}, folder)
            assert refused or not wrong, f"{name} is {what}"


JUNK = (-1, 10**6, 0.5, None, "x", [99], {})


def test_every_field_is_looked_at(content):
    header, tensors, folder = content
    for key in header:
        for junk in JUNK:
            reason = tried({**header, key: junk}, tensors, folder)
            fine = (key == "same" and header[key] == junk) or (key == "features" and junk == 10**6) or key == "bound"
            assert reason or fine, (key, junk)
        if key != "rows":
            assert tried({k: v for k, v in header.items() if k != key}, tensors, folder), key
    first = {step["kind"]: i for i, step in reversed(list(enumerate(header["steps"])))}
    for i in first.values():
        step = header["steps"][i]
        for key, junk in ((key, junk) for key in step for junk in JUNK):
            changed = copy.deepcopy(header)
            changed["steps"][i][key] = junk
            assert tried(changed, tensors, folder) or key == "name" or junk == {}, (i, key, junk)
        for key, junk in ((key, junk) for key in step["options"] for junk in JUNK):
            changed = copy.deepcopy(header)
            changed["steps"][i]["options"][key] = junk
            tried(changed, tensors, folder)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"kind": "mix", "options": {"function": "sum"}}, "there is no mix 'sum'"),
        ({"kind": "function", "options": {"function": "save", "arguments": {}}}, "there is no function 'save'"),
        ({"kind": "function", "options": {"function": "elu", "arguments": {"inplace": True}}}, "may not be told"),
        ({"kind": "function", "options": {"function": "elu", "arguments": {"a": 1}}}, "unexpected keyword"),
        ({"kind": "opaque", "options": {}}, "KeyError 'opaque'"),
        ({"kind": "propagate", "options": {"graph": 9}}, "an operator that is not there"),
        ({"kind": "affine", "options": {"inputs": []}}, "multiple values"),
    ],
)
def test_steps_do_what_they_may_alone(step, reason, tmp_path):
    with safe_open(export(of("gcn"), tmp_path / "it.safetensors"), "pt") as file:
        header, tensors = json.loads(file.metadata()[KEY]), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    width = header["steps"][header["output"]]["width"]
    header["steps"].append({"inputs": [header["output"]], "width": width, "name": "", **step})
    header["output"] = len(header["steps"]) - 1
    assert reason in tried(header, tensors, tmp_path)


def test_steps_from_a_file_write_into_nothing_that_is_read_again(tmp_path):
    """Which steps may is not in the file: it follows from who reads them."""
    with safe_open(export(of("custom", 1.0), tmp_path / "it.safetensors"), "pt") as file:
        header, tensors = json.loads(file.metadata()[KEY]), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    assert not any("inplace" in step["options"] for step in header["steps"])
    for step in header["steps"]:
        if step["kind"] in ("affine", "add", "function"):
            step["options"]["inplace"] = True
    save_file(tensors, tmp_path / "changed.safetensors", metadata={KEY: json.dumps(header)})
    made = load(tmp_path / "changed.safetensors")
    assert torch.equal(made(), made()) and torch.equal(made(), load(tmp_path / "it.safetensors")())


def test_constants_of_one_node_are_not_written_over():
    row = Expand((), 2, "constants", {"row": torch.tensor([-1.0, 2.0])})
    value = row.run(Prepared(1, []))
    value.add_(1.0)
    assert row.row.tolist() == [-1.0, 2.0]
