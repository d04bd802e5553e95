#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Evaluate a DeepLabV3 checkpoint: mean IoU over a list of images and labels.
#
#   DATA_ROOT=DIR DATA_LST=LIST CKPT_PATH=CHECKPOINT run_eval.sh [flags of eval.py]
#   run_eval.sh --data_root=DIR --data_lst=LIST --ckpt_path=CHECKPOINT [--config=eval_s8 --scales=0.5 --flip ...]
#
# Environment: DATA_ROOT, DATA_LST, CKPT_PATH, DEVICE_TARGET (Ascend or CPU), and eval_path, the output folder (eval): the
# log in $eval_path/eval_log, the numbers in $eval_path/metrics.json. A taken folder gets a number.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
if has_flag help -- "$@"; then usage; exit 0; fi
flags=()
flags_from_environment DATA_ROOT:data_root DATA_LST:data_lst CKPT_PATH:ckpt_path DEVICE_TARGET:device_target
flags+=("$@")
has_flag data_lst val_data_lst data_file -- ${flags[@]+"${flags[@]}"} ||
    usage_error "the images are missing: DATA_ROOT=DIR and DATA_LST=LIST"
has_flag ckpt_path ckpt_file checkpoint_path checkpoint -- ${flags[@]+"${flags[@]}"} ||
    usage_error "the checkpoint is missing: CKPT_PATH=CHECKPOINT"
evaluate_into "${eval_path:-eval}" "${flags[@]}"
