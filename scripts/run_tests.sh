#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Install the tests' requirements and run the tests in two processes: run_tests.sh [--slow] [flags and paths for pytest].
# By default the tests of at most ten seconds run; with --slow, the others. `-n 0` runs them one after another.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
ensure_environment requirements.txt requirements/dev.txt requirements/export.txt
cd "$(project_root)"
exec python -m pytest --numprocesses=2 --dist=loadfile "$@"
