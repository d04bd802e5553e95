"""The types that packages exchange. Bottom layer: it imports no other module of the project.

Vocabulary
    split       a list of images with annotations, e.g. "train" or "val"; positions 0..n-1 are its sample ids
    record      one image of a split with its annotation, both compressed as they are on disk
    sample_id   position of a record in its split; order and randomness are functions of it
    image_id    the image's external id: COCO's id, or the line number in a list file
    target      the annotation's bytes: a gray label PNG (semantic) or JSON of instances (`src/data/instance/target.py`)
    batch       a tuple of arrays in the order of the task's `columns`; `sample_id` and `epoch` are the last two
    prediction  what an evaluator takes, always in the frame of the original image
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

RECORD_COLUMNS = ("image_id", "file_name", "image", "target")


class InputError(ValueError):
    """The user's input is wrong. The message names the value, the place and a way out.

    Entry scripts print the message without a traceback and exit with status 2 (`src.command_line.entry_point`).
    """


@dataclass(frozen=True)
class Record:
    """One image of a split, compressed.

    Attributes:
        image_id: see the vocabulary above; unique in its split.
        file_name: path relative to the split's image root, for messages and results.
        image: the image file's bytes, unchanged.
        target: the annotation's bytes.
        place: where the record was read ("list.txt:12", "shard 3 row 7"), for messages.
    """

    image_id: int
    file_name: str
    image: bytes
    target: bytes
    place: str = ""


class Dataset(Protocol):
    """A split: `len(dataset)` records in a fixed order, from a list, a JSON file or MindRecords."""

    name: str

    def __len__(self) -> int: ...

    def rows(self, sample_ids: Sequence[int]) -> Iterator[Record]:
        """Yield the records with these sample ids, in this order; ids may repeat."""


@dataclass(frozen=True)
class LabelMap:
    """Semantic prediction or ground truth of an image, in its original size.

    Attributes:
        labels: (H, W) uint8 class indices.
        confidence: (H, W) float32 probabilities of these classes, where they were asked for (`Task.predictor`).
    """

    image_id: int
    labels: Any
    confidence: Any = None


@dataclass(frozen=True)
class Instances:
    """Instance predictions of one image, best score first.

    Attributes:
        boxes_image: (N, 4) float32 xyxy, half-open, pixels of the original image.
        labels: (N,) int32 class indices, 1..num_classes-1 (0, the background, is never predicted).
        scores: (N,) float32 in [0, 1].
        rles: N COCO run-length encodings of full-size masks; empty where no masks were asked for.
    """

    image_id: int
    boxes_image: Any
    labels: Any
    scores: Any
    rles: list[dict] = field(default_factory=list)


class Evaluator(Protocol):
    """Scores predictions image by image. Evaluators of several processes can be merged. It prints nothing."""

    def update(self, prediction: LabelMap | Instances, target: bytes) -> None: ...

    def merge(self, other: Evaluator) -> None: ...

    def compute(self) -> dict[str, Any]: ...

    def statistics(self) -> Any:
        """What each image contributes to the numbers (`src.metrics.image_statistics.ImageStatistics`)."""


class Export(Protocol):
    """What the writers and readers of exported files need to know about a model: `Task.export`."""

    def preprocess_spec(self) -> dict:
        """The deterministic preprocessing as data (see `src/exporting/preprocess_spec.py`)."""

    def cell(self, network: Any) -> Any:
        """The cell that is frozen: from the inputs of `preprocess_spec()` to its outputs, NMS included."""

    def inputs(self, image: Any) -> tuple[Any, ...]:
        """(H, W, 3) uint8 RGB -> the model's inputs for this image, float32, without their batch axis."""

    def predictor(self, run: Callable, shape: tuple[int, ...]) -> Callable:
        """`Task.predictor` of an exported file.

        Args:
            run: from the file's inputs to its outputs, arrays both.
            shape: (B, 3, H, W), that of its first input.
        """


class Task(Protocol):
    """What the entry scripts need to know about a model. `src/tasks.py` lists the two implementations.

    Attributes:
        columns: names of the training batch's columns, in order; the last two are `sample_id` and `epoch`.
        loss_names: names of the scalars that the training cell returns, in order; the first one is minimised.
        metric: key of `Evaluator.compute()` that decides which checkpoint is the best; larger is better.
        class_names: names of the classes, index 0 first.
        classifier: globs of the parameters whose shapes depend on the number of classes.
        may_be_missing: globs of the parameters that pretrained weights may lack, or have in addition to the network's.
        export: what only exported files need.
        engine: runs the inference network (`src.engine.inference_engine`).
    """

    columns: tuple[str, ...]
    loss_names: tuple[str, ...]
    metric: str
    class_names: tuple[str, ...]
    classifier: tuple[str, ...]
    may_be_missing: tuple[str, ...]
    export: Export
    engine: Any

    def dataset(self, split: str) -> Dataset:
        """The records of the split "train" or "val"."""

    def train_augmentation(self) -> Callable:
        """`(image bytes, target bytes, numpy Generator) -> tuple of arrays`: the columns before `sample_id`."""

    def network(self) -> Any:
        """The inference network (an `nn.Cell`), freshly initialised; also what export freezes."""

    def training_cell(self, network: Any) -> Any:
        """Cell: batch columns -> tuple of scalar float32 losses in the order of `loss_names`."""

    def predictor(self, network: Any, *, confidence: bool = False) -> Callable:
        """`iterable of records -> iterator of predictions`, one for each record; batching happens inside.

        With `confidence`, label maps come with that of each pixel; instances have scores anyway.
        """

    def evaluator(self) -> Evaluator: ...

    def results(self, evaluator: Evaluator) -> dict[str, Any]:
        """Predictions that are saved with the numbers: {name: entries of a COCO results file}, or empty."""

    def describe(self, numbers: dict[str, Any]) -> str:
        """The numbers of `evaluator().compute()` as a table to read."""

    def activation_bytes(self) -> int:
        """Estimated bytes that a training step keeps for its backward pass on a device."""

    def memory_flags(self) -> str:
        """The flags that would make a training step smaller, with their present values, for a message."""
