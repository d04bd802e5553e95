#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Evaluate a Mask R-CNN checkpoint: COCO's average precision of boxes and masks.
#
#   run_eval.sh VALIDATION_JSON CHECKPOINT_PATH [flags of eval.py, e.g. --image_dir=DIR]
#
# The images are those of COCO's layout, ROOT/val2017 for ROOT/annotations/instances_val2017.json, unless --image_dir names
# their folder. Environment: DEVICE_TARGET (Ascend or CPU), and eval_path, the output folder (eval): the log in
# $eval_path/eval_log, the numbers in $eval_path/metrics.json. A taken folder gets a number.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
if has_flag help -- "$@"; then usage; exit 0; fi
[[ $# -ge 2 && $1 != -* && $2 != -* ]] || usage_error "expected VALIDATION_JSON CHECKPOINT_PATH"
for file in "$1" "$2"; do
    [[ -f $file ]] || usage_error "'$file' is no file; expected VALIDATION_JSON CHECKPOINT_PATH"
done
flags=(--model=mask_rcnn_r50 --ann_file="$1" --checkpoint_path="$2")
shift 2
[[ -z ${DEVICE_TARGET:-} ]] || flags+=(--device_target="$DEVICE_TARGET")
evaluate_into "${eval_path:-eval}" "${flags[@]}" "$@"
