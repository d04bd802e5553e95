#!/usr/bin/env bash
# Convert a list of images and labels to MindRecord files.
#   build_data.sh --data_root=DIR --data_lst=FILE --dst_path=FILE [--num_shards=N] [--shuffle] ... (see --help)
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="${PYTHON:-$(command -v python || command -v python3 || true)}"
if [ -z "$python" ]; then
    echo "error: no python on the PATH; activate the environment that the requirements are installed in" >&2
    exit 2
fi
exec "$python" "$here/../../src/tools/build_seg_data.py" "$@"
