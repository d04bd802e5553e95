"""How many pixels each class has: one line for people, and a refusal of labels that teach nothing. No MindSpore."""
from __future__ import annotations

import logging
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.contract import Dataset, InputError
from src.data.checks import evenly, ordered_map
from src.data.semantic.voc import label_histogram, placed, read_label

log = logging.getLogger(__name__)

SAMPLE = 200  # labels that are counted where no build has counted all of them
IGNORED_SHARE = 0.02  # above it, labels with a single class are taken for masks of 0 and 255
MOST_WEIGHT = 10.0  # largest weight of a class, and 1 / the smallest
_SHOWN = 40  # classes in the line


@dataclass(frozen=True)
class LabelCounts:
    """Pixels by label value.

    Attributes:
        pixels: label value -> number of pixels.
        labels, total: how many labels were counted, of how many.
    """

    pixels: Mapping[int, int]
    labels: int
    total: int

    def classes(self, ignore_label: int) -> dict[int, int]:
        """The same without the pixels that do not count."""
        return {value: number for value, number in self.pixels.items() if value != ignore_label and number}

    def ignored_share(self, ignore_label: int) -> float:
        return self.pixels.get(ignore_label, 0) / max(sum(self.pixels.values()), 1)


def count_labels(dataset: Dataset, *, num_classes: int, ignore_label: int, workers: int,
                 sample: int = SAMPLE) -> LabelCounts:
    """The counts of the build where there are any, else those of a sample, evenly spread over the dataset.

    A sample of `sample` labels that has fewer than two classes decides nothing: all labels are then counted.

    Raises:
        InputError: a label cannot be decoded, or holds values that are no class; names the record.
    """
    total = len(dataset)
    built = getattr(getattr(dataset, "manifest", None), "histogram", None)
    if built:
        return LabelCounts(built, total, total)

    def count(record) -> dict[int, int]:
        label = read_label(record)
        with placed(record):
            return label_histogram(label, num_classes, ignore_label)

    for sample_ids in (evenly(total, sample), range(total)):
        pixels: Counter[int] = Counter()
        for found in ordered_map(count, dataset.rows(sample_ids), max(workers, 1)):
            pixels.update(found)
        counts = LabelCounts(dict(sorted(pixels.items())), len(sample_ids), total)
        if len(counts.classes(ignore_label)) > 1:
            break
    return counts


def median_frequency_weights(frequency: Sequence[float]) -> tuple[float, ...]:
    """Weights of the classes by median frequency balancing (Eigen and Fergus 2015, arXiv:1411.4734, section 6.3).

    The weight of a class is the median of the frequencies over its own, within 1 / `MOST_WEIGHT` and `MOST_WEIGHT`, to
    three decimal places; 1 for a class that never occurs. In the paper a frequency is a share of the pixels of the
    images that show the class; a histogram of the split does not know these, so here it is one of all pixels, which
    gives classes that few images show more weight.
    """
    middle = statistics.median(f for f in frequency if f)
    return tuple(round(min(max(middle / f, 1 / MOST_WEIGHT), MOST_WEIGHT), 3) if f else 1.0 for f in frequency)


def report(counts: LabelCounts, name: str, class_names: Sequence[str], ignore_label: int, *,
           allow_single_class: bool) -> None:
    """Print the line, warn of classes without a pixel, and refuse labels that teach nothing.

    Args:
        name: of the dataset, for messages.
        class_names: index 0 first.
        allow_single_class: take labels in which all counted pixels are of one class.

    Raises:
        InputError: no pixel counts, or all that do are of one class and many are ignored (masks of 0 and 255).
    """
    classes, share = counts.classes(ignore_label), counts.ignored_share(ignore_label)
    absent = [class_name for k, class_name in enumerate(class_names) if k not in classes and k != ignore_label]
    log.info("%s", describe(counts, name, class_names, ignore_label))
    if not classes:
        raise InputError(f"{name}: every pixel of {counts.labels} labels is {ignore_label}, which is ignored: there is "
                         "nothing to learn; set --ignore_label, or convert the labels")
    if len(classes) == 1 and share > IGNORED_SHARE and not allow_single_class:
        value = next(iter(classes))
        raise InputError(
            f"{name}: all pixels of {counts.labels} labels are {value} ({_name(value, class_names)}) or {ignore_label} "
            f"({100 * share:.1f} %), and {ignore_label} is ignored: nothing else can be learnt. If {ignore_label} is "
            f"an object in masks of {value} and {ignore_label}, give --label_map={ignore_label}:1 to "
            f"{_TAKES_MAP} with --num_classes=2; if it is meant so, --allow_single_class")
    if absent and counts.labels == counts.total:
        log.warning("%s: no pixel of %s; evaluation leaves classes without a pixel out of the mean", name,
                    ", ".join(absent))


_TAKES_MAP = "build_seg_data.py, or to train.py and eval.py beside a list,"


def describe(counts: LabelCounts, name: str, class_names: Sequence[str], ignore_label: int) -> str:
    """Pixels by class, ignored share and classes without a pixel, as one line."""
    total = max(sum(counts.pixels.values()), 1)
    classes = counts.classes(ignore_label)
    shown = sorted(sorted(classes, key=lambda k: -classes[k])[:_SHOWN])
    parts = ", ".join(f"{_name(k, class_names)} {100 * classes[k] / total:.2f} %" for k in shown) or "none"
    more = f" and {len(classes) - len(shown)} rarer classes" if len(classes) > len(shown) else ""
    absent = [n for k, n in enumerate(class_names) if k not in classes and k != ignore_label]
    counted = "all" if counts.labels == counts.total else f"a sample of {counts.labels} of"
    return (f"{name}: pixels by class in {counted} {counts.total} labels: {parts}{more}; "
            f"ignored ({ignore_label}) {100 * counts.ignored_share(ignore_label):.2f} %; "
            f"classes without a pixel: {', '.join(absent[:_SHOWN]) or 'none'}"
            f"{', ...' if len(absent) > _SHOWN else ''}")


def _name(value: int, class_names: Sequence[str]) -> str:
    return class_names[value] if value < len(class_names) else str(value)
