#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Stage s8_r2 of the published recipe: the VOC train split at output stride 8, from the s8_r1 checkpoint.
#
#   run_distribute_train_s8_r2.sh [RANK_TABLE_FILE] --data_file=MINDRECORD --ckpt_pre_trained=CHECKPOINT [flags]
set -euo pipefail

table=()
if [[ ${1:-} == *.json ]]; then
    table=("$1")
    shift
fi
export train_path=${train_path:-s8_r2}
exec "$(dirname "${BASH_SOURCE[0]}")/run_distribute_train.sh" "${table[@]}" --config=s8_r2 "$@"
