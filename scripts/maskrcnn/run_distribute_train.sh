#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train Mask R-CNN on several devices, of one host or of several: the same line on every host starts the whole job.
#
#   run_distribute_train.sh [RANK_TABLE_FILE] [PRETRAINED_CKPT] [flags of train.py and of src/tools/launch.py]
#   DEVICE_TARGET=CPU WORKERS=2 run_distribute_train.sh [PRETRAINED_CKPT] [flags]
#
# Environment: RANK_TABLE_FILE, or RANK_SIZE and RANK_START_ID without a table; DEVICE_TARGET (Ascend or CPU). Logs are in
# train_parallel*/log, checkpoints in train_parallel0/checkpoint of the current folder. A taken folder gets a number; with
# --resume the run goes on in it. Among the launcher's flags are --dry_run, --max_restarts=N, --bind_core and --port=N.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
if has_flag help -- "$@"; then usage; exit 0; fi
options=(--folder="train_parallel{rank}{number}")
flags=(--model=mask_rcnn_r50 --output_dir="train_parallel0{number}/checkpoint" --is_distributed)
if [[ ${1:-} == *.json ]]; then
    options+=(--rank_table="$1")
    shift
fi
if [[ -n ${1:-} && ${1:-} != -* ]]; then
    [[ -f $1 ]] || usage_error "'$1' is no file; expected [RANK_TABLE_FILE.json] [PRETRAINED_CKPT] [flags]"
    flags+=(--pre_trained="$1")
    shift
fi
root=$(project_root)
python=$(python_command)
exec "$python" "$root/src/tools/launch.py" "${options[@]}" "$root/train.py" "${flags[@]}" "$@"
