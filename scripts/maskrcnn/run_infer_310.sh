#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Offline inference of Mask R-CNN in C++, and COCO's average precision of its boxes and masks.
#
#   run_infer_310.sh AIR_PATH DATA_PATH ANN_FILE_PATH [DEVICE_ID]
#
# AIR_PATH is what export.py wrote (AIR, MINDIR or OM), with preprocess.json beside it; DATA_PATH is the folder of the images
# that ANN_FILE_PATH, COCO annotations, names. DEVICE_ID is 0 by default.
# Environment: DEVICE_TYPE (Ascend, or CPU with an .onnx file), MS_LITE_HOME or LITE_HOME (MindSpore Lite, for Ascend),
# and infer_path, the output folder (the current one): detections in result_Files, logs in infer.log and acc.log.
# Run again, it goes on.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../infer_310.sh"
if has_flag help -- "$@"; then usage; exit 0; fi
expected="expected AIR_PATH DATA_PATH ANN_FILE_PATH [DEVICE_ID]"
[[ $# -eq 3 || $# -eq 4 ]] || usage_error "$expected"
[[ -f $1 ]] || usage_error "AIR_PATH '$1' is no file; $expected"
[[ -d $2 ]] || usage_error "DATA_PATH '$2' is no folder; $expected"
[[ -f $3 ]] || usage_error "ANN_FILE_PATH '$3' is no file; $expected"
expect_device "${4:-0}"
refuse_task semantic "$1" deeplabv3
make_output_folder
list=$(free_name "${infer_path:-.}/images.txt")
"$(python_command)" "$(project_root)/src/tools/list_coco_images.py" --ann_file="$3" --out="$list"
infer_and_score "$1" "${4:-0}" "$2" "$list" --ann_file="$3" --img_path="$2"
