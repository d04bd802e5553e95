"""Real pipelines of three ranks out of 4,096 against what `order` says of all of them."""
import numpy as np
import pytest

from src.contract import Record
from src.data import order
from src.data.pipeline import training_batches
from src.engine.evaluate import evaluate

WORLD, SAMPLES, BATCH, EPOCHS = 4096, 20_000, 2, 3
RANKS = (0, 1777, 4095)


class Numbers:
    """A source whose record n has n as image id and as its only pixel."""

    name = "numbers"

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def rows(self, sample_ids):
        return (Record(int(i), f"{i}.png", np.int64(i).tobytes(), b"-") for i in sample_ids)


def as_number(image: bytes, target: bytes, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.frombuffer(image, np.int64), np.array([rng.random()])


def run(**options) -> list[tuple[np.ndarray, ...]]:
    data = training_batches(Numbers(SAMPLES), augmentation=as_number, columns=("image", "draw", "sample_id", "epoch"),
                            seed=7, epochs=EPOCHS, batch_size=BATCH, world_size=WORLD, **options)
    return list(data.create_tuple_iterator(num_epochs=1, output_numpy=True))


@pytest.fixture(scope="module")
def everybody() -> np.ndarray:
    """(EPOCHS, WORLD, samples of a rank) sample ids, from the function that the pipeline calls."""
    return np.array([[order.rank_order(SAMPLES, seed=7, epoch=epoch, batch_size=BATCH, world_size=WORLD, rank=rank)
                      for rank in range(WORLD)] for epoch in range(EPOCHS)])


def test_an_epoch_of_all_ranks_holds_no_sample_twice_and_leaves_out_less_than_a_global_batch(everybody):
    assert everybody.shape == (EPOCHS, WORLD, SAMPLES // (WORLD * BATCH) * BATCH)  # every rank the same number
    left_out = [set(range(SAMPLES)) - set(epoch.ravel().tolist()) for epoch in everybody]
    for epoch, missing in zip(everybody, left_out):
        assert epoch.size + len(missing) == SAMPLES
        assert len(missing) < WORLD * BATCH
    assert left_out[0] != left_out[1] != left_out[2]


@pytest.mark.parametrize("rank", RANKS)
def test_the_pipeline_of_a_rank_gives_its_part_of_the_division(everybody, rank):
    batches = run(rank=rank)
    assert np.concatenate([ids for *_, ids, _ in batches]).tolist() == everybody[:, rank].ravel().tolist()
    assert all(pixels.ravel().tolist() == ids.tolist() for pixels, _, ids, _ in batches)
    for _, draws, ids, epochs in batches:  # augmented as by a single rank
        assert draws.ravel().tolist() == [order.sample_rng(7, int(e), int(i)).random() for e, i in zip(epochs, ids)]


def test_a_pipeline_that_goes_on_at_a_step_gives_the_rest(everybody):
    steps = everybody.shape[2] // BATCH
    rest = run(rank=1777, start_step=steps + 1)
    assert np.concatenate([ids for *_, ids, _ in rest]).tolist() == everybody[1:, 1777].ravel()[BATCH:].tolist()


class Seen(list):
    """An evaluator that notes the images."""

    def update(self, prediction, target):
        self.append(prediction)


@pytest.mark.parametrize("count", [1449, 5000])
def test_evaluations_of_all_ranks_take_every_image_once(count):
    parts = [evaluate(lambda records: (r.image_id for r in records), Numbers(count), Seen(), world_size=WORLD,
                      rank=rank)
             for rank in range(WORLD)]
    assert [image for part in parts for image in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
