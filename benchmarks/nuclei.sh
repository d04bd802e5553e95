#!/usr/bin/env bash
# Mask R-CNN on cell nuclei from random weights: trains, or goes on where it was stopped, and scores the last checkpoint.
#
#   bash benchmarks/nuclei.sh NUCLEI [SEED] [FLAG...]     (1)
#
# NUCLEI is a folder in COCO's layout with the splits train2018 and val2018 (2018 Data Science Bowl, BBBC038). The same
# line continues a run that was stopped. FLAGs go to train.py, for example --ema_decay=0.995; they must be the same when
# it continues. Environment: RUN_DIR, the output folder (runs/nuclei_seed_SEED). Evaluation sees each image once, in one
# scale. Prints AP of boxes and masks at COCO's 100 detections an image, and the seconds of training, summed over all
# parts of the run, with the compilation of each.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh
(($#)) || usage_error "NUCLEI is missing"
data=$(realpath "$1")
seed=${2:-1}
shift $(($# < 2 ? $# : 2))
[[ -f $data/annotations/instances_train2018.json ]] || die "NUCLEI '$data': no annotations/instances_train2018.json in it"
[[ $seed =~ ^[0-9]+$ ]] || usage_error "SEED '$seed' is no number"
run=$(realpath -m "${RUN_DIR:-runs/nuclei_seed_$seed}")
mkdir -p "$run"
python=$(python_command)
echo "$(date -I), $(nproc) cores,$(grep -m 1 '^model name' /proc/cpuinfo | cut -d: -f2-), seed $seed, in $run"

common=(--model=mask_rcnn_r50 --config=nuclei_crops "--coco_root=$data" --train_data_type=train2018
        --val_data_type=val2018)
resume=()
[[ -f $run/ckpt/metrics.jsonl ]] && resume=(--resume)
"$python" train.py "${common[@]}" "--seed=$seed" "--train_dir=$run/ckpt" "${resume[@]}" "$@" 2>&1 | tee -a "$run/train.log"
checkpoint=$(newest_checkpoint "$run/ckpt")
"$python" eval.py "${common[@]}" "--ckpt_path=$checkpoint" "--result_path=$run/eval_result.json" | tee "$run/eval.log"
"$python" - "$run" "$checkpoint" "$seed" <<'PYTHON'
import json
import sys
from pathlib import Path

run, checkpoint, seed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
lines = [json.loads(line) for line in (run / "ckpt/metrics.jsonl").read_text().splitlines()]
steps = [line for line in lines if line["kind"] == "train"]
seconds, numbers = sum(line["seconds"] for line in steps), json.loads((run / "eval_result.json").read_text())
print(f"seed {seed}, {checkpoint.name}: box AP {numbers['bbox']['AP']:.4f}, mask AP {numbers['segm']['AP']:.4f} "
      f"(AP50 {numbers['segm']['AP50']:.4f}); {len(steps)} steps in {seconds / 60:.1f} minutes of training")
PYTHON
