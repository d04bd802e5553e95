#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train a model on one device.
#
#   run_standalone_train.sh deeplabv3|maskrcnn [arguments and flags]
#   run_standalone_train.sh [PRETRAINED_CKPT] [flags]     (the model that the data belongs to: COCO_ROOT, DATA_FILE, ...)
#
# It calls scripts/MODEL/run_standalone_train.sh, whose --help lists the arguments.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
hand_over run_standalone_train.sh "$@"
