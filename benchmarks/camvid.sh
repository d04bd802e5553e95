#!/usr/bin/env bash
# CamVid from random weights: records, training, and an evaluation at a single scale without mirroring.
#
#   bash benchmarks/camvid.sh CAMVID [SEED] [FLAG...]
#
# CAMVID is a folder in VOC's layout, as benchmarks/camvid_data.py makes it. SEED is 1 by default; FLAGs go to train.py.
# Environment: RUN_DIR, the output folder (runs/camvid), with a folder per seed. The same command continues a run that
# was stopped, at any moment. Prints the processor, what docs/models.md says of the last checkpoint, and the time of
# training, summed over all parts of the run.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh
[[ ${1:-} != -h && ${1:-} != --help ]] || { usage; exit 0; }
(($#)) || usage_error "expected the folder CAMVID"
for split in train val; do
    [[ -f $1/ImageSets/Segmentation/$split.txt ]] || usage_error "CAMVID '$1' has no ImageSets/Segmentation/$split.txt"
done
seed=${2-1}
check_seed "$seed"
data=$(realpath "$1") python=$(python_command)
run=$(realpath -m "${RUN_DIR:-runs/camvid}")/seed_$seed
run_on_data "$run" "$data"
export GLOG_v=${GLOG_v:-3}  # MindSpore's own log: errors alone
echo "$(machine_line), seed $seed"
"$python" src/tools/get_dataset_lst.py --data_root="$data" --out_dir="$run/lists" >"$run/lists.log"
"$python" src/tools/build_seg_data.py --data_root="$data" --data_lst="$run/lists/voc_train_lst.txt" \
    --dst_path="$run/records/train" --num_classes=11 >>"$run/lists.log"
"$python" train.py --config=camvid --seed="$seed" --data_file="$run/records/train" --data_root="$data" \
    --val_data_lst="$run/lists/voc_val_lst.txt" --train_dir="$run/ckpt" --resume=True "${@:3}" 2>&1 |
    tee -a "$run/train_log"
checkpoint=$(newest_checkpoint "$run/ckpt")
"$python" eval.py --ckpt_path="$checkpoint" --device_target=CPU --data_root="$data" \
    --data_lst="$run/lists/voc_val_lst.txt" --scales=1.0 --flip=False --result_path="$run/metrics.json" |
    tee "$run/eval_log"
"$python" benchmarks/model_facts.py "$checkpoint" "$run/metrics.json"
