# What the two run_infer_310.sh share; sourced by them after common.sh, in bash. Nothing happens when it is read.
# shellcheck shell=bash

# free_name FILE: FILE, or FILE with a number before its suffix if that is taken.
free_name() {
    local path=$1 number=1
    while [[ -e $path ]]; do
        number=$((number + 1))
        path=${1%.*}_$number.${1##*.}
    done
    echo "$path"
}

# make_output_folder: make $infer_path.
make_output_folder() {
    local folder=${infer_path:-.}
    mkdir -p "$folder" 2>/dev/null && [[ -w $folder ]] ||
        die "infer_path=$folder: cannot be made or written to; give infer_path another folder"
}

# refuse_task TASK MODEL LAUNCHER: stop where preprocess.json beside MODEL says that it is for LAUNCHER.
refuse_task() {
    ! grep -Eqs "\"task\": *\"$1\"" "$(dirname "$2")/preprocess.json" ||
        usage_error "'$2' is a model of another task ($1, says preprocess.json); give it to scripts/$3/run_infer_310.sh"
}

# with_lite COMMAND...: run with the libraries of MindSpore Lite, which find each other by LD_LIBRARY_PATH alone.
with_lite() {
    local home folder path=
    home=$(lite_home) || return
    if [[ -z $home ]]; then
        "$@"
        return
    fi
    for folder in "$home"/runtime/lib "$home"/runtime/third_party/{dnnl,glog} "$home"/tools/converter/lib; do
        [[ ! -d $folder ]] || path+=${path:+:}$folder
    done
    env LITE_HOME="$home" MS_LITE_HOME="$home" LD_LIBRARY_PATH="$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
}

# infer_and_score MODEL DEVICE_ID DATASET LIST TRUTH...: build the program, run it over LIST, score by postprocess.py TRUTH...
# Results in result_Files, logs in infer.log and acc.log, all in $infer_path. An inference that was stopped goes on.
# Unreadable images end in status 3, after the others were scored.
infer_and_score() {
    local model=$1 device=$2 dataset=$3 list=$4 folder=${infer_path:-.} root program log status=0
    shift 4
    root=$(project_root)
    log=$(free_name "$folder/infer.log")
    program=$("$root/ascend310_infer/build.sh" 2>"$folder/build.log") ||
        { cat "$folder/build.log" >&2; die "the program was not built, see above and $folder/build.log"; }
    logged "$log" with_lite "$program" --model_path="$model" --dataset_path="$dataset" --image_list="$list" \
        --device_type="${DEVICE_TYPE:-Ascend}" --device_id="$device" --result_path="$folder/result_Files" || status=$?
    [[ $status -eq 0 || $status -eq 3 ]] || return "$status"
    log=$(free_name "$folder/acc.log")
    logged "$log" "$(python_command)" "$root/postprocess.py" --result_path="$folder/result_Files" "$@" || return
    echo "results: $folder/result_Files, accuracy: $log"
    return "$status"
}

# expect_device ID: a whole number, or the usage.
expect_device() {
    [[ $1 =~ ^[0-9]+$ ]] || usage_error "DEVICE_ID '$1' is no number"
}
