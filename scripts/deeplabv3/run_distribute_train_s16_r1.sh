#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Stage s16_r1 of the published recipe: the VOC trainaug split at output stride 16.
#
#   run_distribute_train_s16_r1.sh [RANK_TABLE_FILE] --data_file=MINDRECORD --ckpt_pre_trained=CHECKPOINT [flags]
set -euo pipefail

table=()
if [[ ${1:-} == *.json ]]; then
    table=("$1")
    shift
fi
export train_path=${train_path:-s16_r1}
exec "$(dirname "${BASH_SOURCE[0]}")/run_distribute_train.sh" "${table[@]}" --config=s16_r1 "$@"
