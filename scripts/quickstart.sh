#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# From nothing to a trained model on a CPU: install, generate the practice set, train, evaluate, show.
#
#   quickstart.sh [--model deeplabv3] [flags of train.py, e.g. --epochs=4]
#
# Environment: RUN_DIR, the output folder (runs/quickstart): metrics.json, report.html, predictions.jpg, curve.png, and
# the checkpoint in ckpt/. A taken folder gets a number. Exit status 1 where the held-out result is below the mark.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# One function a model: prepare its data in $data and name its flags and the result that training has to reach.
# shellcheck disable=SC2317,SC2329  # they are called by name
prepare_deeplabv3() {
    least=0.60
    config=(--config=quickstart)
    val=(--data_root="$data" --data_lst="$data/voc_val_lst.txt")
    python src/tools/get_dataset_lst.py --data_root="$data"
    python src/tools/build_seg_data.py --data_root="$data" --data_lst="$data/voc_train_lst.txt" \
        --dst_path="$run/records/train.mindrecord" --num_classes=6
    train=(--data_file="$run/records/train.mindrecord" --data_root="$data" --val_data_lst="$data/voc_val_lst.txt")
}

step() {
    echo
    echo "== $1 of 6: $2"
}

model=deeplabv3 flags=()
while (($#)); do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --model=*) model=${1#--model=} ;;
        --model) [[ $# -ge 2 ]] || usage_error "--model needs a value"; model=$2; shift ;;
        *) flags+=("$1") ;;
    esac
    shift
done
declare -F "prepare_$model" >/dev/null || usage_error "--model '$model': expected one of" \
    "$(declare -F | sed -n 's/^declare -f prepare_//p' | tr '\n' ' ')"

step 1 "requirements"
ensure_environment requirements.txt
run_dir=${RUN_DIR:+$(realpath -m "$RUN_DIR")}
cd "$(project_root)"
export GLOG_v=${GLOG_v:-3}  # MindSpore's own log: errors alone
run=$(new_folder "${run_dir:-runs/quickstart}")
data=$run/data
started=$SECONDS
step 2 "practice set, generated into $data"
python src/tools/make_sample_set.py --out="$data"
step 3 "lists and records"
"prepare_$model"
step 4 "training (log: $run/train_log)"
logged "$run/train_log" python train.py "${config[@]}" "${train[@]}" --train_dir="$run/ckpt" ${flags[@]+"${flags[@]}"}
step 5 "evaluation (log: $run/eval_log)"
checkpoint=$(newest_checkpoint "$run/ckpt")
logged "$run/eval_log" python eval.py "${config[@]}" "${val[@]}" --ckpt_path="$checkpoint" --result_path="$run/metrics.json"
step 6 "pictures and report"
python src/tools/report.py "${config[@]}" "${val[@]}" --run_dir="$run" --checkpoint="$checkpoint" --least="$least" ||
    status=$?
echo "took $((SECONDS - started)) s after the installation; everything is in $run"
[[ ! -f $run/report.html ]] || echo "look at $run/report.html"
exit "${status:-0}"
