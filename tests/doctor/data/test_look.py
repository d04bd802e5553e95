"""Looking at records: what fails is a fault of its record, and OpenCV has no threads while processes are forked."""
import cv2
import numpy as np

from src.contract import InputError, Record
from src.data.decode import Decoding
from src.data.instance.target import encode_target
from src.doctor.data.look import Ways, look
from tests.tiny_seg import image, png


class Records:
    """Three images without objects, of which the second cannot be read."""

    name = "records"
    threads = 0

    def __len__(self) -> int:
        return 3

    def rows(self, sample_ids):
        self.threads = cv2.getNumThreads()
        for sample_id in sample_ids:
            if sample_id == 1:
                raise InputError("record 1 is gone")
            yield Record(sample_id, f"{sample_id}.png", png(image(sample_id)), encode_target(1, (12, 16), "[]", "[]"))


def test_a_record_that_cannot_be_read_is_a_fault_of_its_own():
    found = look(Records(), Ways(Decoding(), semantic=False, pixels=frozenset({0})), workers=1)
    assert [one.faults for one in found.images] == [[], ["record 1 is gone"], []]
    assert [one.pixels is not None for one in found.images] == [True, False, False]
    assert len(found.instances) == 0
    np.testing.assert_allclose(found.images[0].pixels.colours[1] / found.images[0].pixels.colours[0],
                               image(0)[::4].reshape(-1, 3).mean(0))


def test_threads_of_opencv_end_before_and_come_back_after():
    before, dataset = cv2.getNumThreads(), Records()
    cv2.setNumThreads(2)
    try:
        look(dataset, Ways(Decoding(), semantic=False), workers=1)
        assert (dataset.threads, cv2.getNumThreads()) == (1, 2)
    finally:
        cv2.setNumThreads(before)
