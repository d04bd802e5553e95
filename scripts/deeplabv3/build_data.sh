#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Convert a list of images and labels to MindRecord files, after checking every one of them.
#
#   build_data.sh --data_root=DIR --data_lst=LIST --dst_path=FILE [--num_shards=N] [--shuffle] [--check=full|size|none]
#                 [--on_bad=error|skip] [--num_classes=21] [--ignore_label=255] [--verify] ... (all flags: --help)
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
python=$(python_command)
exec "$python" "$(project_root)/src/tools/build_seg_data.py" "$@"
