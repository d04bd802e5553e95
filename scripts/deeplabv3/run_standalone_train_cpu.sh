#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train DeepLabV3 on the CPU with the preset `standalone`; arguments and environment as in run_standalone_train.sh.
# Its batch of 32 images of 513 x 513 needs far more memory than most machines have: lower --batch_size, --crop_size or
# --backbone. The output folder is train_path, by default s16_aug_train_cpu.
set -euo pipefail

export DEVICE_TARGET=CPU train_path=${train_path:-s16_aug_train_cpu}
export CALLED_AS=${CALLED_AS:-$0}
exec "$(dirname "${BASH_SOURCE[0]}")/run_standalone_train.sh" "$@"
