#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train a model on several devices.
#
#   run_distribute_train.sh deeplabv3|maskrcnn [RANK_TABLE_FILE] [arguments and flags]
#   run_distribute_train.sh RANK_TABLE_FILE [PRETRAINED_CKPT] [flags]     (Mask R-CNN)
#
# It calls scripts/MODEL/run_distribute_train.sh, whose --help lists the arguments.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
hand_over run_distribute_train.sh "$@"
