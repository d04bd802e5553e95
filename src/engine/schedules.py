"""Learning rate schedules as arrays, one value per update, by the formulas of the model zoo and the papers."""
from __future__ import annotations

import numpy as np

LR_TYPES = ("cos", "poly", "exp", "step")


def learning_rates(lr_type: str, *, base_lr: float, total_steps: int, warmup_steps: int = 0,
                   warmup_ratio: float = 1 / 3, decay_steps: int = 40000, decay_rate: float = 0.1,
                   milestones: tuple[int, ...] = ()) -> np.ndarray:
    """(total_steps,) float32 learning rate of every optimizer update.

    Args:
        lr_type: with i the update counted from the end of warm-up and T = total_steps - warmup_steps,
            - "cos": base_lr * (1 + cos(pi * i / T)) / 2
            - "poly": base_lr * (1 - i / T) ** 0.9
            - "exp": base_lr * decay_rate ** floor(i / decay_steps)
            - "step": base_lr * decay_rate ** (number of `milestones`, in updates from the start, that are reached)
        warmup_steps: updates of linear growth from base_lr * warmup_ratio to base_lr.

    Raises:
        ValueError: an unknown type.
    """
    total = max(total_steps - warmup_steps, 1)
    i = np.arange(max(total_steps - warmup_steps, 0), dtype=np.float64)
    if lr_type == "cos":
        main = base_lr * 0.5 * (1 + np.cos(np.pi * i / total))
    elif lr_type == "poly":
        main = base_lr * (1 - i / total) ** 0.9
    elif lr_type == "exp":
        main = base_lr * decay_rate ** np.floor(i / decay_steps)
    elif lr_type == "step":
        main = base_lr * decay_rate ** np.searchsorted(milestones, i + warmup_steps, side="right").astype(np.float64)
    else:
        raise ValueError(f"lr_type={lr_type!r}: expected one of {', '.join(LR_TYPES)}")
    ramp = np.arange(min(warmup_steps, total_steps), dtype=np.float64) / max(warmup_steps, 1)
    warmup = base_lr * (warmup_ratio + (1 - warmup_ratio) * ramp)
    return np.concatenate([warmup, main]).astype(np.float32)
