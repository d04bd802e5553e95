#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train Mask R-CNN on several devices, of one host or of several: the same line on every host starts the whole job.
#
#   run_distribute_train.sh [RANK_TABLE_FILE] [PRETRAINED_CKPT] [flags of train.py and of src/tools/launch.py]
#   DEVICE_TARGET=CPU WORKERS=2 run_distribute_train.sh [PRETRAINED_CKPT] [flags]
#
# Environment: RANK_TABLE_FILE, or RANK_SIZE and RANK_START_ID without a table. Logs are in train_parallel{rank}/log,
# checkpoints in train_parallel0/checkpoint of the current folder; a folder that is taken gets a number.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
options=(--folder="train_parallel{rank}{number}")
flags=(--output_dir="train_parallel0{number}/checkpoint" --is_distributed)
if [[ ${1:-} == *.json ]]; then
    options+=(--rank_table="$1")
    shift
fi
if [[ -n ${1:-} && ${1:-} != -* ]]; then
    if [[ ! -f $1 ]]; then
        echo "$0: '$1' is no file; expected [RANK_TABLE_FILE.json] [PRETRAINED_CKPT] [flags]" >&2
        exit 2
    fi
    flags+=(--pre_trained="$1")
    shift
fi
exec "${PYTHON:-python3}" "$root/src/tools/launch.py" "${options[@]}" \
    "$root/train.py" --model=maskrcnn_resnet50 "${flags[@]}" "$@"
