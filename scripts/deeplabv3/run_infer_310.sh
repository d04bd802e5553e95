#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Offline inference of DeepLabV3 in C++, and its mean IoU.
#
#   run_infer_310.sh MINDIR_PATH DATA_PATH DATA_ROOT DATA_LIST [DEVICE_ID]
#
# MINDIR_PATH is what export.py wrote, with preprocess.json beside it. DATA_LIST has lines `image label`: images are looked
# up in DATA_PATH and, where they are not there, in DATA_ROOT, labels in DATA_ROOT. DEVICE_ID is 0 by default.
# Environment: DEVICE_TYPE (Ascend, or CPU with an .onnx file), MS_LITE_HOME or LITE_HOME (MindSpore Lite, for Ascend),
# and infer_path, the output folder (the current one): label maps in result_Files, logs in infer.log and acc.log.
# Run again, it goes on.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../infer_310.sh"
if has_flag help -- "$@"; then usage; exit 0; fi
expected="expected MINDIR_PATH DATA_PATH DATA_ROOT DATA_LIST [DEVICE_ID]"
[[ $# -eq 4 || $# -eq 5 ]] || usage_error "$expected"
[[ -f $1 ]] || usage_error "MINDIR_PATH '$1' is no file; $expected"
[[ -d $2 ]] || usage_error "DATA_PATH '$2' is no folder; $expected"
[[ -d $3 ]] || usage_error "DATA_ROOT '$3' is no folder; $expected"
[[ -f $4 ]] || usage_error "DATA_LIST '$4' is no file; $expected"
expect_device "${5:-0}"
refuse_task instance "$1" maskrcnn
make_output_folder
list=$4
if [[ ! $2 -ef $3 ]]; then  # a list with the absolute paths of what is in DATA_PATH; from DATA_ROOT, the rest stays
    found=$(realpath --no-symlinks "$2")
    [[ $found != *[[:space:]]* ]] || die "DATA_PATH '$found': a list cannot hold paths with blanks; rename the folder"
    list=$(free_name "${infer_path:-.}/images.txt")
    sed '1s/^\xef\xbb\xbf//' "$4" | while read -r image label || [[ -n $image ]]; do
        [[ ! -f $found/$image ]] || image=$found/$image
        echo "$image $label"
    done >"$list"
fi
infer_and_score "$1" "${5:-0}" "$3" "$list" --data_root="$3" --data_lst="$list"
