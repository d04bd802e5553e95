"""Look at the splits that a training configuration names: facts, findings and proposals. MindSpore is not imported."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src import tasks
from src.contract import Dataset, InputError
from src.data.checks import evenly
from src.data.decode import Decoding
from src.data.instance.target import Category, categories_of, class_names
from src.data.semantic.label_counts import report
from src.data.semantic.label_map import MappedLabels
from src.doctor.data import findings, proposals
from src.doctor.data.copies import Place, copies, copy_facts
from src.doctor.data.facts import SHOWN, split_facts
from src.doctor.data.instance_facts import instance_facts
from src.doctor.data.instance_findings import instance_findings
from src.doctor.data.instance_proposals import instance_proposals
from src.doctor.data.look import Look, Ways, look
from src.doctor.data.proposals import Proposal
from src.doctor.data.semantic_facts import label_counts, semantic_facts
from src.doctor.data.semantic_findings import semantic_findings
from src.doctor.data.semantic_proposals import semantic_proposals
from src.doctor.finding import Finding

FORMAT = 1  # of the JSON; a new number means that a key changed its meaning
REGIONS = 200  # label maps of a split whose regions are measured


@dataclass(frozen=True)
class Checkup:
    """Everything that was found.

    Attributes:
        given, settings: the configuration, as it was given and completed from weights and data.
        datasets, looks: by split, "train" and, if there is one, "val".
        pairs: of copies, by kind.
        facts: the part of the JSON that numbers make up.
    """

    given: Any
    settings: Any
    datasets: Mapping[str, Dataset]
    looks: Mapping[str, Look]
    pairs: Mapping[str, Sequence[tuple[Place, Place]]]
    facts: dict[str, Any]
    findings: list[Finding]
    proposals: list[Proposal]

    @property
    def semantic(self) -> bool:
        return is_semantic(self.settings)

    @property
    def decoding(self) -> Decoding:
        return _decoding(self.settings)

    def as_json(self) -> dict[str, Any]:
        listed = [{"check": f.check, "level": f.level, "text": f.text, "remedy": f.remedy} for f in self.findings]
        return self.facts | {"findings": listed, "proposals": [p.as_json() for p in self.proposals]}


def is_semantic(settings: Any) -> bool:
    """Whether the configuration trains on label maps; instances otherwise."""
    return settings.family == "deeplabv3"


def examine(given: Any, *, decode: int) -> Checkup:
    """Look at the data of a training configuration.

    Args:
        given: as train.py parses it.
        decode: images of each split that are decoded, evenly spread; -1: all.

    Raises:
        InputError: the training split cannot be opened at all, or `pretrained` is missing.
    """
    tasks.check(given, "train")
    datasets = {"train": given.list_split("train")}
    names = _names(given, datasets["train"])
    settings = _known(given, names, datasets["train"])
    val, no_val = _val(settings, datasets["train"])
    datasets |= {"val": val} if val is not None else {}
    looks = {split: look(dataset, _ways(settings, dataset, decode), workers=settings.workers)
             for split, dataset in datasets.items()}
    settings = tasks.with_conventions(settings)
    facts: dict[str, Any] = {"format": FORMAT, "model": settings.model, "no_val": no_val, "splits": {}}
    for split, dataset in datasets.items():
        own = _annotations(looks[split], dataset, settings, names)
        facts["splits"][split] = split_facts(dataset, looks[split]) | own
    pairs = copies(datasets, looks)
    facts["copies"] = copy_facts(pairs, looks, SHOWN)
    found, better = [*findings.common(facts, settings)], [*proposals.common(facts, settings)]
    if is_semantic(settings):
        found += semantic_findings(facts, settings)
        better += semantic_proposals(facts, settings)
    else:
        found += instance_findings(facts, settings)
        better += instance_proposals(facts, looks["train"], settings)
    by_weights = (settings.model_fields_set - given.model_fields_set) & set(settings.weight_keys())
    better = [proposal for proposal in better if proposal.key not in by_weights]
    return Checkup(given, settings, datasets, looks, pairs, facts, found, better)


def _names(settings: Any, dataset: Dataset) -> tuple[str, ...]:
    """Names of the classes by index."""
    if is_semantic(settings):
        return settings.names
    return class_names(_categories(dataset))


def _categories(dataset: Dataset) -> tuple[Category, ...]:
    return getattr(dataset, "categories", None) or categories_of(dataset)


def _known(settings: Any, names: Sequence[str], train: Dataset) -> Any:
    """The configuration with the classes of the training split, as training completes it."""
    if is_semantic(settings) or settings.dataset == "other":
        return settings
    if settings.class_map == "id":
        return settings.model_copy(update={"num_classes": len(names)})
    ids = (category.category_id for category in _categories(train))
    update = {"coco_classes": tuple(names), "category_ids": (0, *ids)}
    return settings.model_copy(update={} if settings.coco_classes else update)


def _val(settings: Any, train: Dataset) -> tuple[Dataset | None, str]:
    """(the validation split, why there is none)."""
    try:
        settings.check_data("val")
        dataset = settings.list_split("val")
    except InputError as error:
        return None, str(error)
    if dataset.name == train.name:
        return None, "none is given, or it is the training split"
    return dataset, ""


def _ways(settings: Any, dataset: Dataset, decode: int) -> Ways:
    total, semantic = len(dataset), is_semantic(settings)
    pixels = evenly(total, total if decode < 0 else decode)
    regions = [pixels[k] for k in evenly(len(pixels), REGIONS)] if semantic else []
    return Ways(_decoding(settings), semantic,
                ignore_label=settings.ignore_label if semantic else 255,
                table=dataset.table if isinstance(dataset, MappedLabels) else None,
                pixels=frozenset(pixels), regions=frozenset(regions))


def _decoding(settings: Any) -> Decoding:
    return Decoding(settings.exif, settings.bit_depth, settings.max_pixels)


def _annotations(found: Look, dataset: Dataset, settings: Any, names: Sequence[str]) -> dict[str, Any]:
    if not is_semantic(settings):
        return {"instances": instance_facts(found, settings, names)}
    facts = semantic_facts(found, settings, names)
    refused = ""
    if facts["labels"]:
        try:
            report(label_counts(found), dataset.name, names, settings.ignore_label,
                   allow_single_class=settings.allow_single_class)
        except InputError as error:
            refused = str(error)
    return {"labels": facts | {"refused": refused}}
