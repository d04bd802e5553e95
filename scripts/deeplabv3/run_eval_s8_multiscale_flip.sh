#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Evaluate a DeepLabV3 checkpoint at output stride 8, five scales and their mirror images.
#
#   DATA_ROOT=DIR DATA_LST=LIST CKPT_PATH=CHECKPOINT run_eval_s8_multiscale_flip.sh [flags of eval.py]
#
# The environment is that of run_eval.sh; the output folder is eval_path, by default multiscale_flip_eval.
set -euo pipefail

export eval_path=${eval_path:-multiscale_flip_eval}
export CALLED_AS=${CALLED_AS:-$0}
exec "$(dirname "${BASH_SOURCE[0]}")/run_eval.sh" --config=eval_s8_multiscale_flip "$@"
