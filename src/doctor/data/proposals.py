"""Settings that suit a data set better than those given, each with its reason, and the preset that has them."""
from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from src.data.checks import fitting_depth
from src.doctor.data.facts import Facts
from src.doctor.data.findings import FAR_MEAN, FAR_STD


@dataclass(frozen=True)
class Proposal:
    """Another value for a configuration key, and why."""

    key: str
    now: Any
    proposed: Any
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "now": _plain(self.now), "proposed": _plain(self.proposed), "reason": self.reason}


def changed(settings: Any, key: str, value: Any, reason: str) -> Iterator[Proposal]:
    """A proposal, unless the key has that value already."""
    now = getattr(settings, key)
    if _plain(now) != _plain(value):
        yield Proposal(key, now, value, reason)


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def multiple(value: float, of: int, above: int = 0) -> int:
    """The least `k * of + above` that is at least `value`."""
    return math.ceil((value - above) / of) * of + above


def common(facts: Facts, settings: Any) -> Iterator[Proposal]:
    """Proposals on files and colours."""
    splits = facts["splits"]
    bad = sum(part["left_out"]["count"] + part["unusable"]["count"] for part in splits.values())
    if bad:
        yield from changed(settings, "on_bad", "skip", f"bad entries and images: {bad}; better is to repair them")
    pixels = splits["train"]["pixels"]
    if pixels["samples_of_16_bits"]:
        bits = fitting_depth(pixels["samples_of_16_bits"][1], settings.bit_depth)
        if bits:
            yield from changed(settings, "bit_depth", bits, "the upper bits of the 16-bit images are not used")
    if pixels["mean"] and not settings.pretrained:
        yield from _colours(pixels, settings)


def _colours(pixels: Facts, settings: Any) -> Iterator[Proposal]:
    order = 1 if settings.colour_order == "RGB" else -1
    mean, std = (tuple(round(v, 1) for v in pixels[name][::order]) for name in ("mean", "std"))
    far = max(abs(a - b) / s for a, b, s in zip(mean, settings.image_mean, settings.image_std)) > FAR_MEAN
    if min(std) > 1 and (far or max(max(a / b, b / a) for a, b in zip(std, settings.image_std)) > FAR_STD):
        reason = "the data's own, because no weights are loaded that expect others"
        yield from changed(settings, "image_mean", mean, reason)
        yield from changed(settings, "image_std", std, reason)


def preset(settings: Any, proposals: list[Proposal], title: str) -> str:
    """The given settings and the proposed ones as YAML, which `--config` takes."""
    chosen = {proposal.key: proposal for proposal in proposals}
    given = settings.model_dump(mode="json", include=settings.model_fields_set - {"print_config"} - set(chosen))
    lines = [f"# {line}" for line in title.splitlines()]
    lines += [_line(key, value) for key, value in ({"model": settings.model} | given).items()]
    for reason, group in itertools.groupby(proposals, key=lambda proposal: proposal.reason):
        lines += ["", *(f"# {line}" for line in textwrap.wrap(reason, 116))]
        lines += [f"{_line(p.key, _plain(p.proposed))}  # instead of {_plain(p.now)}" for p in group]
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any) -> str:
    """`key: value` on one line."""
    return f"{key}: {yaml.safe_dump([value], allow_unicode=True, default_flow_style=True, width=1e6).strip()[1:-1]}"
