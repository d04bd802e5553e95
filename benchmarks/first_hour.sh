#!/usr/bin/env bash
# A newcomer's first hour, timed: install, quick start, predictions of own pictures, export, offline inference in C++.
#
#   bash benchmarks/first_hour.sh [PICTURES]
#
# PICTURES is a folder of pictures to predict; the practice set's held-out images without it. The project is cloned, so
# that everything is installed anew, into an environment of its own. Prints the seconds of each step.
# Environment: RUN_DIR, the output folder (runs/first_hour).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh
run=$(new_folder "$(realpath -m "${RUN_DIR:-runs/first_hour}")")
pictures=${1:+$(realpath "$1")}
[[ -z $pictures || -d $pictures ]] || die "PICTURES '$1' is no folder"
unset VIRTUAL_ENV
git clone --quiet . "$run/mindseg"
cd "$run/mindseg"

timed() {
    local started=$SECONDS name=$1
    shift
    "$@" >>"$run/log" 2>&1 || die "$name failed; see $run/log"
    echo "$((SECONDS - started)) s  $name"
}

quick_start() {
    RUN_DIR=$run/quickstart bash scripts/quickstart.sh
}

# predict_pictures MODEL
predict_pictures() {
    python predict.py --model_path="$(newest_checkpoint "$run/quickstart/$1/ckpt")" --output_dir="$run/predictions/$1" \
        "${pictures:-$run/quickstart/data/val2017}"
}

# export_onnx MODEL
export_onnx() {
    python export.py --device_target=CPU --file_format=ONNX \
        --ckpt_file="$(newest_checkpoint "$run/quickstart/$1/ckpt")" --file_name="$run/exported/$1/model"
}

offline() {
    local data=$run/quickstart/data
    mkdir -p "$run/offline/deeplabv3" "$run/offline/maskrcnn"
    DEVICE_TYPE=CPU infer_path=$run/offline/deeplabv3 bash scripts/deeplabv3/run_infer_310.sh \
        "$run/exported/deeplabv3/model.onnx" "$data" "$data" "$data/voc_val_lst.txt"
    DEVICE_TYPE=CPU infer_path=$run/offline/maskrcnn bash scripts/maskrcnn/run_infer_310.sh \
        "$run/exported/maskrcnn/model.onnx" "$data/val2017" "$data/annotations/instances_val2017.json"
}

machine_line
timed "packages for C++" install_packages "${CPP_PACKAGES[@]}"
started=$SECONDS
ensure_environment requirements.txt requirements/export.txt >>"$run/log" 2>&1
echo "$((SECONDS - started)) s  requirements"  # not by `timed`: the environment has to stay on the PATH
timed "quick start: both models" quick_start
for model in deeplabv3 maskrcnn; do
    timed "$model: predictions of pictures" predict_pictures "$model"
    timed "$model: export to ONNX, with parity" export_onnx "$model"
done
timed "offline inference in C++, built and scored" offline
echo "$SECONDS s  in all; everything is in $run"
