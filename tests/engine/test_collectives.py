"""Bytes between ranks: here with ranks that are threads, in `tests/launch/test_cluster.py` with two processes."""
import pickle
import threading

import numpy as np
import pytest

from src.engine import collectives
from src.engine.collectives import SMALLEST_ROUND, gather_bytes, round_length


class Ranks:
    """An exchange among threads that stand for ranks, which counts rounds and the words of each."""

    def __init__(self, count: int):
        self.sent: list = [None] * count
        self.barrier = threading.Barrier(count)
        self.rounds: list[int] = []

    def run(self, messages: list[bytes], keep: list[bool]) -> list[list[bytearray]]:
        found: list = [None] * len(messages)

        def rank(number: int) -> None:
            def exchange(words: np.ndarray) -> np.ndarray:
                self.sent[number] = words
                if self.barrier.wait() == 0:
                    self.rounds.append(len(words))
                    assert len({(len(w), w.dtype) for w in self.sent}) == 1
                everything = np.stack(self.sent)
                self.barrier.wait()
                return everything
            found[number] = gather_bytes(messages[number], exchange, keep=keep[number])

        threads = [threading.Thread(target=rank, args=(n,)) for n in range(len(messages))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


@pytest.mark.parametrize("lengths", [(1, 2, 3), (4, 0, 9), (1024, 1025, 1), (5000, 40_000, 39_999)])
def test_every_rank_gets_the_bytes_of_all_in_order(lengths, monkeypatch):
    monkeypatch.setattr(collectives, "ROUND_BYTES", 3 * 4 * 2000)  # the last case needs several rounds
    rng = np.random.default_rng(0)
    messages = [rng.integers(0, 256, n, dtype=np.uint8).tobytes() for n in lengths]
    ranks = Ranks(3)
    assert ranks.run(messages, [True, True, True]) == [messages] * 3
    assert ranks.rounds[0] == 2  # the sizes, 64 bits each
    assert len(set(ranks.rounds[1:])) == 1
    assert max(ranks.rounds) <= 2000


def test_ranks_that_do_not_keep_take_part_and_get_nothing():
    messages = [pickle.dumps({"rank": n}) for n in range(4)]
    assert Ranks(4).run(messages, [True, False, False, False]) == [messages, [], [], []]


def test_few_round_lengths_and_none_above_the_limit_of_all_ranks_together():
    for world_size in (2, 64, 512):
        found = {round_length(n, world_size) for n in range(1, 1 << 21, 1013)}
        assert len(found) <= 14
        assert max(found) * world_size * 4 <= collectives.ROUND_BYTES
        assert min(found) == SMALLEST_ROUND
    assert round_length(300, 1_000_000) == SMALLEST_ROUND  # so many ranks exchange more than the limit at a time
