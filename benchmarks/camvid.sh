#!/usr/bin/env bash
# CamVid from random weights: records, training, and an evaluation at a single scale without mirroring.
#
#   bash benchmarks/camvid.sh CAMVID [SEED] [flags of train.py]     (seed 1)
#
# CAMVID is a folder in VOC's layout. Environment: RUN_DIR, the output folder (runs/camvid). The same command continues a
# run that was interrupted, at any moment. Prints the processor, mean IoU of the last checkpoint and the training time,
# summed over resumptions.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh
[[ $# -ge 1 && -d $1 ]] || usage_error "CAMVID '${1:-}' is no folder"
[[ ${2:-1} =~ ^[0-9]+$ ]] || usage_error "SEED '$2' is no number"
data=$(realpath "$1") seed=${2:-1}
run=$(realpath -m "${RUN_DIR:-runs/camvid}")/seed_$seed
mkdir -p "$run"
export GLOG_v=${GLOG_v:-3}  # MindSpore's own log: errors alone
echo "$(date -I), $(nproc) cores, $(grep -m 1 '^model name' /proc/cpuinfo | cut -d: -f2- | xargs), seed $seed"
[[ -e $run/lists/voc_val_lst.txt ]] ||
    python src/tools/get_dataset_lst.py --data_root="$data" --out_dir="$run/lists" >"$run/lists.log"
python src/tools/build_seg_data.py --data_root="$data" --data_lst="$run/lists/voc_train_lst.txt" \
    --dst_path="$run/records/train" --num_classes=11 >>"$run/lists.log"
python train.py --config=camvid --seed="$seed" --data_file="$run/records/train" --data_root="$data" \
    --val_data_lst="$run/lists/voc_val_lst.txt" --train_dir="$run/ckpt" --resume "${@:3}" 2>&1 | tee -a "$run/train_log"
python eval.py --ckpt_path="$(newest_checkpoint "$run/ckpt")" --device_target=CPU --data_root="$data" \
    --data_lst="$run/lists/voc_val_lst.txt" --scales=1.0 --flip=False --result_path="$run/metrics.json" |
    tee "$run/eval_log"
python - "$run/ckpt/metrics.jsonl" <<'EOF'
import json, sys
steps = [line for line in map(json.loads, open(sys.argv[1])) if line["kind"] == "train"]
seconds = sum(line["seconds"] / max(1 - line["data_wait"], 1e-9) for line in steps)
print(f"{len(steps)} steps, {seconds / 60:.1f} min of training, {seconds / len(steps):.2f} s a step")
EOF
