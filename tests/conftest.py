import sys

import pytest
import torch
from hypothesis import settings
from reference.graphs import small_sbm
from torch_geometric.data import Data

from glt import allocator, cli

torch.set_num_threads(1)
settings.register_profile("glt", derandomize=True, deadline=None, max_examples=50, database=None)
settings.load_profile("glt")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Nothing is kept from one run of the tests to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def sbm() -> Data:
    """60 nodes, 3 classes, dense features; 15, 18 and 27 nodes for training, validation and testing."""
    return small_sbm()


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder of its own, and the allocator of this process left as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: None)
    return tmp_path


@pytest.fixture
def main(monkeypatch, capsys):
    """Run the command line's entry point; (exit code, stdout, stderr)."""

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["glt", *map(str, args)])
        monkeypatch.setattr(sys.modules["__main__"], "__package__", None)  # click would say "python -m pytest"
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capsys.readouterr())

    return call
