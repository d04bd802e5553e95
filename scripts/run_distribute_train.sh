#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train a model on several devices: run_distribute_train.sh deeplabv3|maskrcnn [RANK_TABLE_FILE] [arguments and flags].
# The rest of the line goes to scripts/MODEL/run_distribute_train.sh, which says what it takes.
set -euo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
model=${1:-}
if [[ -z $model || ! -x $scripts/$model/run_distribute_train.sh ]]; then
    echo "$0: '$model' is no model; expected deeplabv3 or maskrcnn, then [RANK_TABLE_FILE] and flags" >&2
    exit 2
fi
shift
exec "$scripts/$model/run_distribute_train.sh" "$@"
