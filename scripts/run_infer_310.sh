#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Infer offline in C++ and score: run_infer_310.sh deeplabv3|maskrcnn [arguments and flags].
# The rest of the line goes to scripts/MODEL/run_infer_310.sh, which says what it takes.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
hand_over run_infer_310.sh "$@"
