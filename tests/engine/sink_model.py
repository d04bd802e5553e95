"""`mindspore.train.Model` with the loop that it runs on an Ascend, on a CPU: chunks of steps between two callbacks.

The loop is MindSpore's own (`_train_dataset_sink_process`). What only a device has is put in its place: the queue that
feeds the graph, and the graph that runs a chunk and returns what its last step returned.
"""
from __future__ import annotations

from mindspore.train import Model


class _Queue:
    """Stands for DatasetHelper: one item a chunk."""

    def __init__(self, dataset, sink_size: int):
        self.batches = dataset.create_tuple_iterator(num_epochs=1)
        self.size = sink_size

    def __iter__(self):
        return iter([()])

    def sink_size(self) -> int:
        return self.size

    def continue_send(self) -> None: ...

    def stop_send(self) -> None: ...

    def release(self) -> None: ...


class SinkModel(Model):
    """Records in `calls` what it was asked for: [(chunks, steps of each), ...]."""

    calls: list = []  # noqa: RUF012  of all instances

    def _train_process(self, epoch, train_dataset, list_callback=None, cb_params=None, initial_epoch=0,
                       valid_infos=None):
        self.calls.append((epoch, cb_params.batch_num))
        self._train_dataset_sink_process(epoch, train_dataset, list_callback, cb_params, cb_params.batch_num,
                                         initial_epoch, valid_infos)

    def _exec_preprocess(self, is_train, dataset, dataset_sink_mode, sink_size=-1, epoch_num=1, dataset_helper=None):
        queue = dataset_helper or _Queue(dataset, sink_size)
        self._train_network.set_train(is_train)

        def chunk():
            for _ in range(queue.size):
                outputs = self._train_network(*next(queue.batches))
            return outputs

        chunk.set_train = chunk.set_grad = lambda *flag: None
        return queue, chunk
