#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Evaluate a checkpoint.
#
#   run_eval.sh deeplabv3|maskrcnn [arguments and flags]
#   run_eval.sh VALIDATION_JSON CHECKPOINT [flags]     (Mask R-CNN)
#
# It calls scripts/MODEL/run_eval.sh, whose --help lists the arguments.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
hand_over run_eval.sh "$@"
