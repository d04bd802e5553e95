#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Documented path of deeplabv3/run_eval_s16.sh; --help lists its arguments.
set -euo pipefail

exec "$(dirname "${BASH_SOURCE[0]}")/deeplabv3/run_eval_s16.sh" "$@"
