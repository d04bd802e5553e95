#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train Mask R-CNN on several devices, of one host or of several: the same line on every host starts the whole job.
#
#   run_distribute_train.sh [RANK_TABLE_FILE] [PRETRAINED_CKPT] [flags of train.py and of src/tools/launch.py]
#   DEVICE_TARGET=CPU WORKERS=2 run_distribute_train.sh [PRETRAINED_CKPT] [flags]
#
# Environment: RANK_TABLE_FILE, or RANK_SIZE and RANK_START_ID without a table; DEVICE_TARGET (Ascend or CPU); COCO_ROOT or
# DATA_FILE (records), PRETRAINED; train_path, the folder for the output (the current one): logs in train_parallel*/log,
# checkpoints in train_parallel0/checkpoint. A taken folder gets a number; with --resume the run goes on in it. Among the
# launcher's flags are --dry_run, --max_restarts=N, --bind_core and --port=N.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
if has_flag help -- "$@"; then usage; exit 0; fi
folder=${train_path:+${train_path%/}/}train_parallel
options=(--folder="$folder{rank}{number}")
flags=(--model=mask_rcnn_r50 --output_dir="${folder}0{number}/checkpoint" --is_distributed)
if is_rank_table "${1:-}" || [[ -n ${2:-} && $1 != -* && $2 != -* ]]; then
    options+=(--rank_table="$1")
    shift
fi
if [[ -n ${1:-} && $1 != -* ]]; then
    [[ -f $1 ]] || usage_error "'$1' is no file; expected [RANK_TABLE_FILE] [PRETRAINED_CKPT] [flags]"
    export PRETRAINED=$1
    shift
fi
flags_from_environment COCO_ROOT:coco_root DATA_FILE:data_file PRETRAINED:pre_trained
root=$(project_root)
python=$(python_command)
exec "$python" "$root/src/tools/launch.py" "${options[@]}" "$root/train.py" "${flags[@]}" "$@"
