#!/usr/bin/env bash
# Mask R-CNN on cell nuclei from random weights: training, and an evaluation that sees each image once, in one scale.
#
#   bash benchmarks/nuclei.sh NUCLEI [SEED] [FLAG...]
#
# NUCLEI is a folder in COCO's layout with the splits train2018 and val2018 (2018 Data Science Bowl, BBBC038). SEED is 1 by
# default; FLAGs go to train.py. Environment: RUN_DIR, the output folder (runs/nuclei), with a folder per seed. The same
# command continues a run that was stopped, at any moment. Prints the processor, what docs/models.md says of the last
# checkpoint, and the time of training, summed over all parts of the run.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh
[[ ${1:-} != -h && ${1:-} != --help ]] || { usage; exit 0; }
(($#)) || usage_error "expected the folder NUCLEI"
for split in train2018 val2018; do
    [[ -f $1/annotations/instances_$split.json ]] || usage_error "NUCLEI '$1' has no annotations/instances_$split.json"
done
seed=${2-1}
check_seed "$seed"
data=$(realpath "$1") python=$(python_command)
run=$(realpath -m "${RUN_DIR:-runs/nuclei}")/seed_$seed
run_on_data "$run" "$data"
export GLOG_v=${GLOG_v:-3}  # MindSpore's own log: errors alone
echo "$(machine_line), seed $seed"
common=(--model=mask_rcnn_r50 --config=nuclei "--coco_root=$data" --train_data_type=train2018
    --val_data_type=val2018)
"$python" train.py "${common[@]}" --seed="$seed" --train_dir="$run/ckpt" --resume=True "${@:3}" 2>&1 |
    tee -a "$run/train_log"
checkpoint=$(newest_checkpoint "$run/ckpt")
"$python" eval.py "${common[@]}" --ckpt_path="$checkpoint" --result_path="$run/metrics.json" | tee "$run/eval_log"
"$python" benchmarks/model_facts.py "$checkpoint" "$run/metrics.json"
