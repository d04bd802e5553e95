"""A picture of what the network in training predicts on held-out images."""
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from mindspore.train import Callback

from src.contract import Instances, LabelMap, Record, Task
from src.engine.position import Position
from src.files import write_file
from src.report import rows

log = logging.getLogger(__name__)
COUNT = 6  # images in the picture


class Preview(Callback):
    """Draw images of the val split, truth and prediction every `interval` epochs; a new picture replaces the last one.

    Args:
        predict: records -> predictions of the network as it is now.
        path: of the JPEG.
    """

    def __init__(self, task: Task, predict: Callable[[Sequence[Record]], Sequence[LabelMap | Instances]],
                 position: Position, path: Path, *, interval: int):
        super().__init__()
        self.task = task
        self.predict = predict
        self.position = position
        self.path = path
        self.interval = interval
        dataset = task.dataset("val")
        self.records = list(dataset.rows(rows.spread(len(dataset), COUNT)))

    def on_train_step_end(self, run_context) -> None:
        position = self.position
        if not position.crossed(self.interval * position.steps_per_epoch):
            return
        captions = [f"{record.file_name}   after epoch {position.epochs_done}" for record in self.records]
        write_file(self.path, rows.picture(self.records, self.predict(self.records), captions, self.task.class_names,
                                           self.task.preprocess.decoding))
        log.info("predictions after epoch %d: %s", position.epochs_done, self.path)
