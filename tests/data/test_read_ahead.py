"""Reading ahead: order, batches, how far ahead, and errors at their place."""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from src.contract import InputError, Record
from src.data.read_ahead import decode_record, read_ahead
from tests.tiny_seg import png


def records(count: int, read: list[int]):
    for k in range(count):
        read.append(k)
        yield Record(10 + k, f"{k}.jpg", b"", b"", f"list.txt:{k + 1}")


def test_batches_come_in_order_and_one_is_read_ahead():
    read: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        batches = read_ahead(records(5, read), lambda record: record.file_name, batch_size=2, pool=pool)
        assert next(batches) == ([10, 11], ["0.jpg", "1.jpg"])
        assert read == [0, 1, 2, 3]
        assert list(batches) == [([12, 13], ["2.jpg", "3.jpg"]), ([14], ["4.jpg"])]
        assert list(read_ahead([], str, batch_size=2, pool=pool)) == []


def test_an_error_comes_with_its_batch():
    def prepare(record: Record) -> int:
        if record.image_id == 12:
            raise InputError(f"{record.place}: bad")
        return record.image_id

    with ThreadPoolExecutor(2) as pool:
        batches = read_ahead(records(4, []), prepare, batch_size=2, pool=pool)
        assert next(batches) == ([10, 11], [10, 11])
        with pytest.raises(InputError, match="list.txt:3: bad"):
            next(batches)


def test_a_record_that_is_no_image_is_named_with_its_place():
    gray = np.zeros((3, 5), np.uint8)
    assert decode_record(Record(1, "a.png", png(gray), b"")).shape == (3, 5, 3)
    with pytest.raises(InputError, match="list.txt:7: a.jpg is not an image"):
        decode_record(Record(1, "a.jpg", b"junk", b"", "list.txt:7"))
