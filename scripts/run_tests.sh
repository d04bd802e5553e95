#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Install what the tests need and run them in two processes: run_tests.sh [--slow] [flags and paths for pytest].
# Without --slow the tests of at most ten seconds run, with it the others. `-n 0` runs them one after another.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
ensure_environment requirements.txt requirements/dev.txt requirements/export.txt
cd "$(project_root)"
exec python -m pytest --numprocesses=2 --dist=loadfile "$@"
