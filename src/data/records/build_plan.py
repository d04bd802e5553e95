"""Plan a build of MindRecord shards: how many, how large, and which exist already.

Nothing is written here. No MindSpore here.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from src.contract import InputError
from src.data.checks import MAX_RECORD, Inspector, describe_bad
from src.data.records.manifest import SUFFIX, Manifest, Shard, is_finished, manifest_path, shard_files, shard_names

MAX_SHARDS = 1000  # FileWriter's limit

_SHARD_BYTES = 128 << 20  # aimed at where the number of shards is free
_MIN_PAGE, _MAX_PAGE = 32 << 10, 2 * MAX_RECORD  # FileWriter's limits
_MIN_HEADER, _MAX_HEADER = 64 << 10, 128 << 20  # FileWriter's limit is the upper one
_FORBIDDEN = set('\\:*?"<>|`&\';')  # FileWriter's list


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    Attributes:
        num_shards: 1..1000, or 0: one for every 128 MiB.
        shuffle: seed of a fixed permutation of the dataset, or None to keep its order.
        on_bad: "error" refuses a dataset with bad records, "skip" leaves them out and lists them in the manifest.
        workers: threads that read and check; 0: one per processor.
        overwrite: replace finished records of another dataset or other options.
        wait_seconds: how long to wait for another process that builds the same records.
    """

    num_shards: int = 0
    shuffle: int | None = None
    on_bad: Literal["error", "skip"] = "error"
    workers: int = 0
    overwrite: bool = False
    wait_seconds: float = 3600


def plan_shards(inspector: Inspector, dst: Path, options: BuildOptions, plan: Manifest,
                old: Manifest | None) -> Manifest:
    """Inspect every record and lay the shards out; those that are finished have their `file_bytes`.

    Args:
        inspector: reads and checks the dataset.
        dst: absolute dst_path.
        options: of the build.
        plan: the new manifest, without shards; it is filled and returned.
        old: the manifest of an earlier build there, or None.

    Raises:
        InputError: bad records that are not to be skipped, or finished ones that would be replaced.
    """
    samples = len(inspector.order)
    names = shard_names(dst.name, options.num_shards or _choose_num_shards(inspector))
    bounds = [samples * i // len(names) for i in range(len(names) + 1)]
    checked = old.shards if old and old.request["check"] == plan.request["check"] else []
    known = {(s.file, s.first, s.last): s for s in checked}
    plan.shards = [inspector.shard(*key, known.get(key)) for key in zip(names, bounds, bounds[1:])]
    bad = [message for shard in plan.shards for message in shard.bad]
    if bad and options.on_bad == "error":
        raise InputError(f"{describe_bad(bad)}\nNothing was written. Repair the files, or leave such records out with "
                         "--on_bad=skip")
    if not plan.records:
        raise InputError(f"{inspector.dataset.name}: no good record is left\n{describe_bad(bad)}")
    plan.page_size, plan.header_size = _page_and_header(plan)
    _keep_finished(dst, plan, old)
    _refuse_shards_of_others(dst, plan)
    if not options.overwrite:
        _refuse_to_replace(dst, plan, old)
    return plan


def check_target(dst: Path, dataset_name: str, samples: int, num_shards: int) -> None:
    """InputError where `dst` cannot be a record file, or `num_shards` (0: free) is impossible for `samples` records."""
    if dst.is_dir():
        raise InputError(f"dst_path {dst} is a folder; give the record file's path, e.g. {dst / 'train'}")
    wrong = sorted(_FORBIDDEN & set(dst.name))
    if wrong or dst.name != dst.name.strip():
        raise InputError(f"dst_path {str(dst)!r}: a record file's name holds none of {''.join(sorted(_FORBIDDEN))} and "
                         "has no blank at its ends; choose another name")
    if not 0 <= num_shards <= min(samples, MAX_SHARDS):
        raise InputError(f"num_shards={num_shards}: {dataset_name} has {samples} records, and a build at most "
                         f"{MAX_SHARDS} shards; lower it, or set it to 0")


def _choose_num_shards(inspector: Inspector) -> int:
    samples = len(inspector.order)
    wanted = np.ceil(inspector.typical_bytes() * samples / _SHARD_BYTES)
    return int(np.clip(wanted, 1, min(MAX_SHARDS, samples)))


def _page_and_header(plan: Manifest) -> tuple[int, int]:
    """Page and header size for all shards (MindSpore wants them equal), in bytes, powers of two.

    Records do not cross pages, so the end of a page is a hole in the file. A page that holds at least four of the
    largest records wastes at most a quarter; small pages keep the file's apparent size near the allocated one.
    """
    largest, shard = max(s.largest for s in plan.shards), max(s.bytes for s in plan.shards)
    page = _power_of_two(max(4 * largest, min(shard, 1 << 20)), _MIN_PAGE, _MAX_PAGE)
    pages = 2 * shard // page + max(s.records for s in plan.shards) // 64 + 8
    header = 400 * pages + len(plan.shards) * (len(plan.shards[-1].file.encode()) + 16)
    return page, _power_of_two(header, _MIN_HEADER, _MAX_HEADER)


def _power_of_two(number: int, lowest: int, highest: int) -> int:
    return int(np.clip(1 << max(number - 1, 0).bit_length(), lowest, highest))


def _keep_finished(dst: Path, plan: Manifest, old: Manifest | None) -> None:
    """Take over the finished shards of an earlier build that are unchanged in this one."""
    earlier: Sequence[Shard | None] = [None] * len(plan.shards)
    if old is not None and _layout(old) == _layout(plan):
        earlier = old.shards
    for before, shard in zip(earlier, plan.shards, strict=True):  # they may be the same object
        if before and before.content_hash == shard.content_hash and is_finished(before, dst.parent):
            shard.file_bytes, shard.file_hash, shard.index_hash = before.file_bytes, before.file_hash, before.index_hash
        else:
            shard.file_bytes, shard.file_hash, shard.index_hash = None, "", ""


def _layout(manifest: Manifest) -> tuple[int, int, list[str]]:
    return manifest.page_size, manifest.header_size, [shard.file for shard in manifest.shards]


def _refuse_shards_of_others(dst: Path, plan: Manifest) -> None:
    """Records `a1` beside records `a` of several shards: the file a1 is the latter's. No option replaces it."""
    for other in sorted(dst.parent.glob("*" + SUFFIX)):
        if other != manifest_path(dst) and (shared := {shard.file for shard in plan.shards} & shard_files(other)):
            raise InputError(f"{dst.with_name(min(shared))} is a shard of other records, {other}; choose another "
                             "--dst_path, such as " + str(dst.with_name(dst.name + "_records")))


def _refuse_to_replace(dst: Path, plan: Manifest, old: Manifest | None) -> None:
    if old is None:
        taken = [dst.with_name(s.file) for s in plan.shards if dst.with_name(s.file).exists()]
        if taken:
            raise InputError(f"{taken[0]} exists and has no manifest of this program; choose another --dst_path, or "
                             "replace it with --overwrite")
        return
    kept = {shard.file for shard in plan.shards if shard.file_bytes}
    lost = [s.file for s in old.shards if is_finished(s, dst.parent) and s.file not in kept]
    if old.complete and lost:
        raise InputError(f"{dst} holds {old.records} finished records that differ from these (then: "
                         f"{old.request}, now: {plan.request}); choose another --dst_path, or replace them with "
                         "--overwrite")
