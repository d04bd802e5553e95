#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Train Mask R-CNN on one device. Without PRETRAINED_CKPT, an ImageNet ResNet-50 or a Mask R-CNN, from random weights.
#
#   run_standalone_train.sh [PRETRAINED_CKPT] --coco_root=DIR [flags of train.py, e.g. --config=coco]
#   run_standalone_train.sh [PRETRAINED_CKPT] --mindrecord_dir=RECORDS [flags]
#   run_standalone_train.sh [PRETRAINED_CKPT] --dataset=other --anno_path=FILE --image_dir=DIR --num_classes=N [flags]
#
# Environment: COCO_ROOT, DATA_FILE (records), PRETRAINED, DEVICE_TARGET (Ascend or CPU), and train_path, the output folder
# (train): checkpoints and loss_0.log in $train_path/checkpoint, the log in $train_path/log. A taken folder gets a number; with --resume the run
# goes on in it.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
if has_flag help -- "$@"; then usage; exit 0; fi
flags=(--model=mask_rcnn_r50)
if [[ -n ${1:-} && $1 != -* ]]; then
    [[ -f $1 ]] || usage_error "'$1' is no file; expected [PRETRAINED_CKPT] [flags]"
    export PRETRAINED=$1
    shift
fi
flags_from_environment COCO_ROOT:coco_root DATA_FILE:data_file PRETRAINED:pre_trained DEVICE_TARGET:device_target
flags+=("$@")
has_flag coco_root data_file mindrecord_dir anno_path -- "${flags[@]}" ||
    usage_error "training data is missing: --coco_root=DIR, --mindrecord_dir=RECORDS, or --dataset=other --anno_path=FILE"
has_flag pre_trained ckpt_pre_trained pretrained resume -- "${flags[@]}" ||
    echo "note: training starts from random weights; the published recipe starts from an ImageNet ResNet-50 checkpoint"
checkpoint_folder=checkpoint train_into "${train_path:-train}" "${flags[@]}"
