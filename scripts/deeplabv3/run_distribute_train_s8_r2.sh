#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Stage s8_r2 of the published recipe, on several devices: VOC train at output stride 8, from the checkpoint of s8_r1.
#
#   DATA_FILE=MINDRECORD PRETRAINED=CHECKPOINT run_distribute_train_s8_r2.sh [RANK_TABLE_FILE] [flags]
#   run_distribute_train_s8_r2.sh [RANK_TABLE_FILE] --data_file=MINDRECORD --ckpt_pre_trained=CHECKPOINT [flags]
#
# Environment and flags are those of run_distribute_train.sh; train_path is s8_voc_train by default.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
train_stage s8_r2 s8_voc_train "$@"
