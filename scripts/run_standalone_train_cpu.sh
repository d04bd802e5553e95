#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# The documented path of deeplabv3/run_standalone_train_cpu.sh: see there, or --help, for what it takes.
set -euo pipefail

exec "$(dirname "${BASH_SOURCE[0]}")/deeplabv3/run_standalone_train_cpu.sh" "$@"
