"""Write and read MindRecord files, for both models: the compressed bytes come back unchanged.

`build` turns any `Dataset` into shards, `RecordDataset` reads them (and the model zoo's records), `verify` compares
shards with their manifest. A build reads its dataset twice: first a pool of threads hashes and checks every record, so
that bad input is reported before anything is written; then the shards are written one after another. FileWriter takes
a third of a millisecond per record and holds Python's lock, so a second writer would gain nothing. MindSpore is
imported when the first shard is written or the first record is read.
"""
from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from src.contract import RECORD_COLUMNS, Dataset, InputError, Record
from src.data.checks import Check, Inspector, ProgressCallback
from src.data.records import manifest as manifests
from src.data.records import shard_header
from src.data.records.build_plan import BuildOptions, check_target, plan_shards
from src.data.records.manifest import Manifest, Shard
from src.files import sha256

log = logging.getLogger(__name__)

SCHEMA = dict(zip(RECORD_COLUMNS, ({"type": "int64"}, {"type": "string"}, {"type": "bytes"}, {"type": "bytes"})))
ZOO_COLUMNS = ("file_name", "data", "label")
_DEFAULTS = BuildOptions()
_CHUNK = 64  # records passed to FileWriter at once
_REBUILD = "Remove these files and run the same build again; it keeps the others"
_READERS = min(2, os.cpu_count() or 1)  # threads of MindDataset


def build(dataset: Dataset, dst_path: str | Path, options: BuildOptions = _DEFAULTS, *, check: Check | None = None,
          left_out: Sequence[str] = (), approve: Callable[[Manifest], None] = lambda plan: None,
          progress: ProgressCallback = lambda phase, done, total: None) -> Manifest:
    """Write `dataset` as MindRecord shards at `dst_path` and return the manifest.

    It may be called again after any interruption: finished shards whose records are unchanged are kept. Several
    processes may call it at once: one builds, the others wait and return its manifest.

    Args:
        dataset: `rows` is called from several threads at once.
        dst_path: path of the record file, `folder/name` or `name`; shards append their number.
        check: raises InputError for a bad record, else returns {label value: pixels} for the manifest's histogram. Its
            `repr` tells builds with different checks apart.
        left_out: messages about records that the dataset itself left out, for the manifest.
        approve: called with the manifest before anything is written; may raise InputError.
        progress: called with ("check" or "write", records done, records in all).

    Raises:
        InputError: bad records, impossible options, not enough disk space, other records at `dst_path`.
    """
    dst = Path(os.path.abspath(dst_path))
    check_target(dst, dataset.name, len(dataset), options.num_shards)
    dst.parent.mkdir(parents=True, exist_ok=True)
    request = {"source": dataset.name, "samples": len(dataset), "num_shards": options.num_shards,
               "shuffle": options.shuffle, "on_bad": options.on_bad, "check": repr(check)}
    order = np.arange(len(dataset)) if options.shuffle is None else \
        np.random.default_rng(options.shuffle).permutation(len(dataset))
    inspector = Inspector(dataset, order, check=check, workers=options.workers or len(os.sched_getaffinity(0)),
                          progress=progress)
    with manifests.exclusive(dst, options.wait_seconds) as waited:
        path = manifests.manifest_path(dst)
        old = manifests.load(path) if path.is_file() else None
        if waited and old and old.complete and old.request == request:
            return old
        plan = plan_shards(inspector, dst, options, Manifest(request, left_out=list(left_out)), old)
        approve(plan)
        _write(inspector, dst, plan, old)
    return plan


# --- second pass: write -----------------------------------------------------------------------------------------------

def _write(inspector: Inspector, dst: Path, plan: Manifest, old: Manifest | None) -> None:
    """Write the unfinished shards in a temporary folder, move each into place, and complete the manifest."""
    todo = [shard for shard in plan.shards if not shard.file_bytes]
    needed, free = sum(shard.bytes for shard in todo), shutil.disk_usage(dst.parent).free
    if needed * 1.05 > free:
        raise InputError(f"{dst.parent}: {free >> 20} MiB free, {needed >> 20} needed; make room or choose another "
                         "--dst_path")
    stale = {s.file for s in old.shards} - {s.file for s in plan.shards} if old else set()
    plan.save(dst)
    for name in stale:
        for suffix in ("", ".db"):
            dst.with_name(name + suffix).unlink(missing_ok=True)
    folder = dst.with_name(f".{dst.name}.partial")
    for shard in todo:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _write_shard(inspector, plan, shard, folder)
        for name in (f"{shard.file}.db", shard.file):
            # FileWriter makes files that only the owner can read; other users get the permissions of the manifest.
            shutil.copymode(manifests.manifest_path(dst), folder / name)
            os.replace(folder / name, dst.with_name(name))
        finished = dst.with_name(shard.file)
        shard.file_hash, shard.index_hash = sha256(finished), sha256(finished.with_name(f"{shard.file}.db"))
        shard.file_bytes = finished.stat().st_size
        plan.save(dst)
    shutil.rmtree(folder, ignore_errors=True)
    plan.complete = True
    plan.save(dst)


def _write_shard(inspector: Inspector, plan: Manifest, shard: Shard, folder: Path) -> None:
    from mindspore.mindrecord import FileWriter
    from mindspore.mindrecord.common.exceptions import MindRecordException

    path = folder / shard.file
    writer = FileWriter(str(path), 1)
    writer.set_header_size(plan.header_size)
    writer.set_page_size(plan.page_size)
    writer.add_schema(SCHEMA, "MindSeg records")
    digests, rows = [], []
    try:
        for record in inspector.records(shard):
            digests.append(manifests.record_digest(record))
            rows.append({name: getattr(record, name) for name in RECORD_COLUMNS})
            if len(rows) == _CHUNK:
                writer.write_raw_data(rows)
                inspector.progress("write", shard.first + len(digests), len(inspector.order))
                rows = []
        if rows:
            writer.write_raw_data(rows)
        writer.commit()
    except (RuntimeError, MindRecordException) as error:
        raise InputError(f"{path}: could not be written: {_reason(error)}") from error
    if manifests.combined(digests) != shard.content_hash:
        raise InputError(f"{inspector.dataset.name}: records of {shard.file} changed while they were read; build again "
                         "when nobody writes to the data")
    shard_header.set_addresses(path, [s.file for s in plan.shards], plan.shards.index(shard))
    inspector.progress("write", shard.last, len(inspector.order))


def _reason(error: Exception) -> str:
    """The informative sentence of a MindSpore error."""
    lines = [line.strip() for line in str(error).splitlines()]
    found = [line.removeprefix("[ERROR] ") for line in lines if line.startswith("[ERROR]")]
    return (found or [line for line in lines if line] or [type(error).__name__])[0]


# --- reading ----------------------------------------------------------------------------------------------------------

class RecordDataset:
    """Records of MindRecord files (a `src.contract.Dataset`): ours, and the model zoo's (`file_name`, `data`, `label`).

    Zoo records have no image id; it is the row's number, from 1.

    Attributes:
        name: the path as it was given.
        files: the shards in order; sample ids count through them.
        manifest: of the build, or None.
    """

    def __init__(self, path: str | Path):
        """Read the headers of all shards.

        Args:
            path: the dst_path of a build, its first shard, or its manifest; for other records the first shard.

        Raises:
            InputError: missing, unfinished, damaged or foreign files, with their names and the way out.
        """
        self.name = str(path)
        found = manifests.find(Path(path))
        self.manifest = manifests.load(found) if found else None
        self.files = _built_files(found, self.manifest) if found and self.manifest else _foreign_files(Path(path))
        headers = [shard_header.read_header(file) for file in self.files]
        self._starts = np.cumsum([0] + [shard_header.row_count(header) for header in headers])
        present = shard_header.fields(headers[0])
        known: tuple[tuple[str, ...], ...] = (RECORD_COLUMNS, ZOO_COLUMNS)
        self._columns = next((columns for columns in known if set(columns) <= present), ())
        if not self._columns:
            raise InputError(f"{self.files[0]}: columns {sorted(present)}, expected {list(RECORD_COLUMNS)} or "
                             f"{list(ZOO_COLUMNS)}; build the records with src/tools/build_coco_data.py (instances) "
                             "or src/tools/build_seg_data.py (label maps)")
        if not len(self):
            raise InputError(f"{self.name}: holds no records; build them again")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(self, sample_ids: Sequence[int]) -> Iterator[Record]:
        """Yield the records of `sample_ids`, in that order.

        Raises:
            InputError: a shard cannot be read.
            IndexError: an id outside 0..len-1 (MindSpore would wrap it around in silence).
        """
        ids = [int(i) for i in sample_ids]
        outside = [i for i in ids if not 0 <= i < len(self)]
        if outside:
            raise IndexError(f"sample id {outside[0]} of {self.name}, which has {len(self)} records")
        # MindSpore's SubsetSampler refuses more ids than there are rows.
        for start in range(0, len(ids), len(self)):
            yield from self._piece(ids[start:start + len(self)])

    def _piece(self, ids: list[int]) -> Iterator[Record]:
        import mindspore.dataset as ds

        try:
            data = ds.MindDataset([str(file) for file in self.files], list(self._columns),
                                  sampler=ds.SubsetSampler(ids), num_parallel_workers=_READERS)
            rows = data.create_tuple_iterator(num_epochs=1, output_numpy=True)
            for sample_id, row in zip(ids, rows, strict=True):
                yield self._record(sample_id, dict(zip(self._columns, row)))
        except (RuntimeError, ValueError) as error:
            names = ", ".join(file.name for file in self.files[:10])
            message = (f"{self.name}: cannot be read ({_reason(error)}); one of {names} or their .db files is damaged: "
                       "remove it and build the records again")
            log.error("%s", message)  # MindSpore may lose the exception on its way out of a training pipeline
            raise InputError(message) from error

    def _record(self, sample_id: int, row: dict[str, np.ndarray]) -> Record:
        shard = int(np.searchsorted(self._starts, sample_id, side="right")) - 1
        place = f"{self.files[shard]}:row {sample_id - self._starts[shard]} (if the file is damaged, --verify says so)"
        image, target = (row["image"], row["target"]) if "image" in row else (row["data"], row["label"])
        image_id = int(row["image_id"].item()) if "image_id" in row else sample_id + 1
        # Byte columns arrive as one fixed-width string: its buffer has the trailing zeros that its value lacks.
        return Record(image_id, str(row["file_name"].item()), image.tobytes(), target.tobytes(), place)


def _built_files(path: Path, manifest: Manifest) -> list[Path]:
    """The shards that a manifest names, all of them finished."""
    missing = manifest.unfinished(path.parent)
    if missing or not manifest.complete:
        raise InputError(f"{path}: the build is unfinished or damaged ({len(missing)} of {len(manifest.shards)} "
                         f"shards missing or of another size: {', '.join(missing[:10]) or 'none'}); run the same build "
                         "again, it keeps what is done")
    return [path.with_name(shard.file) for shard in manifest.shards]


def _foreign_files(path: Path) -> list[Path]:
    """The shards of a record file without manifest, from its first shard's header."""
    first = next((p for p in (path.with_name(path.name + end) for end in ("", "0", "00", "000")) if p.is_file()), path)
    return [first.with_name(Path(name).name) for name in shard_header.read_header(first)["shard_addresses"]]


def verify(dst_path: str | Path, *, progress: ProgressCallback = lambda phase, done, total: None) -> Manifest:
    """Compare every byte of a build's files, then every record, with the manifest and return that.

    Raises:
        InputError: no manifest, shards missing or damaged; names all of them.
    """
    dataset = RecordDataset(dst_path)
    if dataset.manifest is None:
        raise InputError(f"{dst_path}: has no manifest to compare with; only records of this program's builds have one")
    damaged = [f"{path}: is not the file that was written" for shard, file in zip(dataset.manifest.shards,
                                                                                  dataset.files)
               for path, written in ((file, shard.file_hash), (file.with_name(f"{file.name}.db"), shard.index_hash))
               if written and sha256(path) != written]
    if damaged:  # not read: MindSpore may end the process
        raise InputError("\n".join([*damaged, _REBUILD]))
    first = 0
    for shard, file in zip(dataset.manifest.shards, dataset.files):
        digests = []
        try:
            for record in dataset.rows(range(first, first + shard.records)):
                digests.append(manifests.record_digest(record))
                progress("verify", first + len(digests), dataset.manifest.records)
        except InputError as error:
            damaged.append(f"{file}: {error}")
        else:
            if manifests.combined(digests) != shard.content_hash:
                damaged.append(f"{file}: its records are not those that were written")
        first += shard.records
    if damaged:
        raise InputError("\n".join([*damaged, _REBUILD]))
    return dataset.manifest
