#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train DeepLabV3 on one device with the preset `standalone` (ResNet-101, output stride 16, VOC trainaug).
#
#   DATA_FILE=MINDRECORD PRETRAINED=CHECKPOINT run_standalone_train.sh [flags of train.py]
#   run_standalone_train.sh --data_file=MINDRECORD --ckpt_pre_trained=CHECKPOINT [flags of train.py]
#   run_standalone_train.sh --data_root=DIR --data_lst=LIST [flags of train.py]
#
# Environment: DATA_FILE, DATA_ROOT and DATA_LST, PRETRAINED, DEVICE_TARGET (Ascend or CPU), and train_path, the output
# folder (s16_aug_train_1p): checkpoints in $train_path/ckpt, the log in $train_path/log. A taken folder gets a number;
# with --resume the run goes on in it.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
if has_flag help -- "$@"; then usage; exit 0; fi
flags=(--config=standalone)
flags_from_environment DATA_FILE:data_file DATA_ROOT:data_root DATA_LST:data_lst PRETRAINED:ckpt_pre_trained \
    DEVICE_TARGET:device_target
flags+=("$@")
has_flag data_file mindrecord_dir data_lst -- "${flags[@]}" ||
    usage_error "training data is missing: DATA_FILE=MINDRECORD, or DATA_ROOT=DIR DATA_LST=LIST"
has_flag ckpt_pre_trained pre_trained pretrained resume -- "${flags[@]}" ||
    echo "note: training starts from random weights; the published recipe starts from PRETRAINED=a ResNet-101 checkpoint"
train_into "${train_path:-s16_aug_train_1p}" "${flags[@]}"
