"""What several tests of the data share."""
import pytest

from src.data.semantic.voc import ListDataset
from tests.tiny_seg import write_data


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return ListDataset(root, write_data(root, 9))
