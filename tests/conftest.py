import pytest
import torch
from hypothesis import settings
from reference.graphs import small_sbm
from torch_geometric.data import Data

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
