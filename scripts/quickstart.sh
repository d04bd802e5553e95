#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# From nothing to trained models on a CPU: install, generate the practice set, train, evaluate, show.
#
#   quickstart.sh [--model deeplabv3|maskrcnn] [flags of train.py, e.g. --epochs=4]
#   (or a model of theirs: deeplab_v3_s16, deeplab_v3_s8, mask_rcnn_r50)
#
# Without --model both are trained, one after the other. Environment: RUN_DIR, the output folder (runs/quickstart), with
# the data and a folder per model: metrics.json, report.html, predictions.jpg, curve.png, and the checkpoint in ckpt/. A
# taken folder gets a number. Mask R-CNN starts from DeepLabV3's backbone; alone it starts from random weights. Exit
# status 1 if a held-out result is below the required one.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# One function a model: prepare its data in $out and name its flags and the results that training has to reach.
# shellcheck disable=SC2317,SC2329  # they are called by name
prepare_deeplabv3() {
    least=miou=0.75
    config=(--config=quickstart)
    val=(--data_root="$data" --data_lst="$data/voc_val_lst.txt")
    python src/tools/get_dataset_lst.py --data_root="$data"
    python src/tools/build_seg_data.py --data_root="$data" --data_lst="$data/voc_train_lst.txt" \
        --dst_path="$out/records/train.mindrecord" --num_classes=6
    train=(--data_file="$out/records/train.mindrecord" --data_root="$data" --val_data_lst="$data/voc_val_lst.txt")
}

# shellcheck disable=SC2317,SC2329
prepare_maskrcnn() {
    least=bbox.AP50=0.70,segm.AP50=0.55
    config=(--model=mask_rcnn_r50 --config=quickstart)
    val=(--coco_root="$data")
    python src/tools/build_coco_data.py --coco_root="$data" --data_type=train2017 \
        --dst_path="$out/records/train.mindrecord"
    train=(--mindrecord_dir="$out/records/train.mindrecord" --coco_root="$data")
    # A DeepLabV3 that was trained just before knows the shapes: with its backbone fewer epochs are enough.
    [[ ! -d $run/deeplabv3/ckpt ]] ||
        train+=(--pre_trained="$(newest_checkpoint "$run/deeplabv3/ckpt")" --epochs=6)
}

step() {
    echo
    echo "== $1 of 5: $2"
}

# train_model NAME FLAGS...: steps 3 to 5. The report runs in the background, beside the start of the next training, as
# each of them keeps only one core busy for most of the time. Its process is added to $reports.
train_model() {
    local out=$run/$1 checkpoint least config val train
    mkdir "$out"
    step 3 "$1: lists and records"
    "prepare_$(family_of "$1")"
    config+=(--model="$1")
    step 4 "$1: training (log: $out/train_log)"
    logged "$out/train_log" python train.py "${config[@]}" "${train[@]}" --train_dir="$out/ckpt" \
        --compile_cache=auto "${@:2}"
    step 5 "$1: evaluation, pictures and report (log: $out/eval_log, shown at its end)"
    checkpoint=$(newest_checkpoint "$out/ckpt")
    report_model "$out" "${config[@]}" "${val[@]}" --checkpoint="$checkpoint" --least="$least" &
    reports+=($!)
}

# report_model FOLDER FLAGS...: evaluate and report; status 1 if a result is below the required one.
report_model() {
    local below=0
    python src/tools/report.py --run_dir="$1" --compile_cache=auto "${@:2}" >"$1/eval_log" 2>&1 || below=$?
    [[ ! -f $1/report.html ]] || echo "look at $1/report.html" >>"$1/eval_log"
    cat "$1/eval_log"
    return "$below"
}

known=(deeplabv3 maskrcnn) models=() flags=() reports=()
while (($#)); do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --model=*) models+=("${1#--model=}") ;;
        --model) [[ $# -ge 2 ]] || usage_error "--model needs a value"; models+=("$2"); shift ;;
        *) flags+=("$1") ;;
    esac
    shift
done
for model in ${models[@]+"${models[@]}"}; do
    family_of "$model" >/dev/null || usage_error "--model '$model': expected one of ${known[*]}"
done

step 1 "requirements"
ensure_environment requirements.txt
run_dir=${RUN_DIR:+$(realpath -m "$RUN_DIR")}
cd "$(project_root)"
export GLOG_v=${GLOG_v:-3}  # MindSpore's own log: errors alone
run=$(new_folder "${run_dir:-runs/quickstart}")
data=$run/data
started=$SECONDS status=0
step 2 "practice set, generated into $data"
python src/tools/make_sample_set.py --out="$data"
((${#models[@]})) || models=("${known[@]}")
for model in "${models[@]}"; do
    train_model "$model" ${flags[@]+"${flags[@]}"}
done
for report in "${reports[@]}"; do
    wait "$report" || status=$?
done
echo "took $((SECONDS - started)) s after the installation; everything is in $run"
exit "$status"
