#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train DeepLabV3 on several devices, of one host or of several: the same line on every host starts the whole job.
#
#   run_distribute_train.sh [RANK_TABLE_FILE] [flags of train.py and of src/tools/launch.py]
#   DEVICE_TARGET=CPU WORKERS=2 run_distribute_train.sh --data_file=... [flags]
#
# Environment: RANK_TABLE_FILE, or RANK_SIZE and RANK_START_ID without a table; train_path, the output folder. Logs are
# in $train_path/device*/log, checkpoints in $train_path/ckpt; a folder that is taken gets a number.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
train_path=${train_path:-deeplabv3_train}
options=(--folder="$train_path{number}/device{device}")
if [[ ${1:-} == *.json ]]; then
    options+=(--rank_table="$1")
    shift
elif [[ -n ${1:-} && ${1:-} != -* ]]; then
    echo "$0: '$1' is no rank table; expected [RANK_TABLE_FILE.json] [flags]" >&2
    exit 2
fi
exec "${PYTHON:-python3}" "$root/src/tools/launch.py" "${options[@]}" \
    "$root/train.py" --train_dir="$train_path{number}/ckpt" --is_distributed "$@"
