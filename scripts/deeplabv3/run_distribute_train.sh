#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train DeepLabV3 on several devices, of one host or of several: the same line on every host starts the whole job.
#
#   run_distribute_train.sh [RANK_TABLE_FILE] --data_file=MINDRECORD [flags of train.py and of src/tools/launch.py]
#   DEVICE_TARGET=CPU WORKERS=2 run_distribute_train.sh --data_root=DIR --data_lst=LIST [flags]
#
# Environment: RANK_TABLE_FILE, or RANK_SIZE and RANK_START_ID without a table; DEVICE_TARGET (Ascend or CPU);
# DATA_FILE, DATA_ROOT and DATA_LST, PRETRAINED; train_path, the output folder (deeplabv3_train): logs in
# $train_path/device*/log, checkpoints in $train_path/ckpt. A taken folder gets a number; with --resume the run goes on
# in it. Among the launcher's flags are --dry_run, --max_restarts=N, --bind_core and --port=N.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
if has_flag help -- "$@"; then usage; exit 0; fi
train_path=${train_path:-deeplabv3_train}
options=(--folder="${train_path%/}{number}/device{device}")
if [[ -n ${1:-} && $1 != -* ]]; then
    options+=(--rank_table="$1")
    shift
fi
flags=(--train_dir="${train_path%/}{number}/ckpt" --is_distributed)
flags_from_environment DATA_FILE:data_file DATA_ROOT:data_root DATA_LST:data_lst PRETRAINED:ckpt_pre_trained
root=$(project_root)
python=$(python_command)
exec "$python" "$root/src/tools/launch.py" "${options[@]}" "$root/train.py" "${flags[@]}" "$@"
