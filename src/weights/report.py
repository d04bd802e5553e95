"""Report of a load: what became of each name in a weights file and in a network."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from src.contract import InputError
from src.weights.names import matches
from src.wording import some

Mismatch = tuple[str, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class LoadReport:
    """The result of reading, converting or loading weights. `str()` lists every name.

    Attributes:
        place: the file.
        family: of the weights; for our own files the family that they were converted from, else "mindseg".
        conventions: see `families.py`; empty if the file does not name them.
        mapped: {our name: name in the file}, all that is loaded.
        transposed: our names whose axes were exchanged.
        ignored: the file's names of optimizer state and counters.
        left_over: the file's names that the network has no place for.
        missing: our names that the file does not have.
        mismatched: (our name, shape in the file, shape in the network).
        replaced: our names of classifier layers that keep their initial values.
    """

    place: str
    family: str
    conventions: dict[str, Any]
    mapped: dict[str, str]
    transposed: Sequence[str] = ()
    ignored: Sequence[str] = ()
    left_over: Sequence[str] = ()
    missing: Sequence[str] = ()
    mismatched: Sequence[Mismatch] = ()
    replaced: Sequence[str] = ()
    expected: Sequence[str] = field(default=(), repr=False)

    @property
    def renamed(self) -> list[str]:
        """Our names that differ from the file's."""
        return [ours for ours, theirs in self.mapped.items() if ours != theirs]

    def summary(self) -> str:
        """One line of counts."""
        text = (f"{self.place}: {self.family} weights: {len(self.mapped)} mapped ({len(self.renamed)} renamed, "
                f"{len(self.transposed)} transposed), {len(self.left_over)} left over, {len(self.missing)} missing, "
                f"{len(self.mismatched)} of another shape, {len(self.ignored)} of training state ignored")
        if self.replaced:
            text += f"; not loaded, as the classifier is replaced: {', '.join(self.replaced)}"
        return text

    def __str__(self) -> str:
        rows = []
        for ours, theirs in self.mapped.items():
            kind = "transposed" if ours in self.transposed else "renamed" if ours != theirs else "mapped"
            rows.append((kind, ours if ours == theirs else f"{theirs} -> {ours}"))
        rows += [("replaced", f"{name} keeps its initial values") for name in self.replaced]
        rows += [("mismatched", f"{n}: {a} in the file, {b} in the network") for n, a, b in self.mismatched]
        rows += [("left over", name + self._remark(name)) for name in self.left_over]
        rows += [("missing", name + self._remark(name)) for name in self.missing]
        rows += [("ignored", name) for name in self.ignored]
        return "\n".join([*(f"{kind:<11} {text}" for kind, text in rows), self.summary()])

    def _remark(self, name: str) -> str:
        return " (as expected)" if matches(name, self.expected) else ""

    def check(self, remedy: str = "") -> None:
        """Raise InputError if a name is left over, missing or of another shape, and not expected to be.

        Args:
            remedy: what the user can do about it, in the flags of the program at hand.
        """
        problems = []
        for what, names in (("left over", self.left_over), ("missing", self.missing)):
            unexpected = [name for name in names if not matches(name, self.expected)]
            if unexpected:
                problems.append(f"{len(unexpected)}: {some(unexpected)} {what}")
        if self.mismatched:
            shapes = some(f"{name} {theirs} for {ours}" for name, theirs, ours in self.mismatched)
            problems.append(f"{len(self.mismatched)}: {shapes} of another shape")
        if problems:
            raise InputError(f"{self.place} ({self.family}) does not fit: {'; '.join(problems)}"
                             + (f". {remedy}" if remedy else ""))
