#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Stage s16_r1 of the published recipe, on several devices: VOC trainaug at output stride 16, from an ImageNet ResNet-101.
#
#   DATA_FILE=MINDRECORD PRETRAINED=CHECKPOINT run_distribute_train_s16_r1.sh [RANK_TABLE_FILE] [flags]
#   run_distribute_train_s16_r1.sh [RANK_TABLE_FILE] --data_file=MINDRECORD --ckpt_pre_trained=CHECKPOINT [flags]
#
# Environment and flags are those of run_distribute_train.sh; train_path is s16_aug_train by default.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
train_stage s16_r1 s16_aug_train "$@"
