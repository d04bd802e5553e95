#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Infer offline in C++ and score the results.
#
#   run_infer_310.sh deeplabv3|maskrcnn [arguments]
#   run_infer_310.sh AIR_PATH DATA_PATH ANN_FILE_PATH [DEVICE_ID]                   (Mask R-CNN)
#   run_infer_310.sh MINDIR_PATH DATA_PATH DATA_ROOT DATA_LIST [DEVICE_ID]          (DeepLabV3)
#
# It calls scripts/MODEL/run_infer_310.sh, whose --help lists the arguments.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
hand_over run_infer_310.sh "$@"
