# Shell functions shared by the scripts, which source this file in bash. Sourcing it has no other effect.
# shellcheck shell=bash

# die MESSAGE: print an error and exit with status 2.
die() {
    echo "$(basename "${CALLED_AS:-$0}"): error: $*" >&2
    exit 2
}

# usage: print the comment at the head of the script; CALLED_AS is the name under which the user called it.
usage() {
    sed -n '3,/^[^#]/{s/^# \{0,1\}//p}' "${CALLED_AS:-$0}"
}

# usage_error MESSAGE: print an error and the usage, and exit with status 2.
usage_error() {
    echo "$(basename "${CALLED_AS:-$0}"): error: $*" >&2
    echo >&2
    usage >&2
    exit 2
}

# has_flag NAME... -- WORDS...: whether one of the flags is among the words, bare or with =VALUE.
has_flag() {
    local names=() word name
    while [[ $1 != -- ]]; do
        names+=("$1")
        shift
    done
    shift
    for word in "$@"; do
        for name in "${names[@]}"; do
            [[ $word == "--$name" || $word == "--$name="* ]] && return 0
        done
    done
    return 1
}

# python_command: the interpreter to run: $PYTHON, or the active environment's, or the project's .venv, or python3.
python_command() {
    local found
    if [[ -n ${PYTHON:-} ]]; then
        echo "$PYTHON"
    elif [[ -z ${VIRTUAL_ENV:-} && -x $(project_root)/.venv/bin/python ]]; then
        echo "$(project_root)/.venv/bin/python"
    elif found=$(command -v python || command -v python3); then
        echo "$found"
    else
        die "no python on the PATH; activate the environment that requirements.txt is installed in"
    fi
}

project_root() {
    (cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
}

# lite_home: the folder of MindSpore Lite's package: MS_LITE_HOME, or LITE_HOME as the vendor's pages call it; or nothing.
lite_home() {
    local home=${MS_LITE_HOME:-${LITE_HOME:-}}
    [[ -z $home || -d $home/runtime ]] || die "MS_LITE_HOME=$home: no MindSpore Lite package (no folder runtime in it)"
    echo "$home"
}

# new_folder PATH: make PATH, or PATH_2, PATH_3, ... if that is taken, and print its name. Never removes anything.
new_folder() {
    local path=${1%/} number=1
    mkdir -p "$(dirname "$path")"
    while ! mkdir "$path" 2>/dev/null; do
        [[ -e $path ]] || die "$path cannot be created; choose another output folder"
        number=$((number + 1))
        path=${1%/}_$number
    done
    echo "$path"
}

# logged FILE COMMAND...: run in the foreground with output to the screen and FILE; return the command's status.
logged() {
    local log=$1
    shift
    set -o pipefail
    "$@" 2>&1 | tee "$log"
}

# hand_over SCRIPT [MODEL] ...: run scripts/MODEL/SCRIPT with the rest of the line; without a model's name, the script of
# the model that the line is about.
hand_over() {
    local script=$1 model=${2:-} folder family
    folder=$(dirname "${BASH_SOURCE[0]}")
    [[ $model != -h && $model != --help ]] || { usage; exit 0; }
    shift
    if family=$(family_of "$model") && [[ -x $folder/$family/$script ]]; then
        shift
        [[ $family == "$model" || $script == run_infer_310.sh ]] || set -- "$@" "--model=$model"
        model=$family
    elif [[ -z $model || $model == -* || -e $model || ${model##*/} == *.* ]] && model=$(model_of_line "$@"); then
        export CALLED_AS=${CALLED_AS:-$folder/$model/$script}
    elif [[ -z $model || $model == -* ]]; then
        usage_error "which model? Name it first, one of: $(models_with "$script"); or give its data"
    else
        usage_error "'${1:-}' is no model that has $script; expected one of: $(models_with "$script")"
    fi
    exec "$folder/$model/$script" "$@"
}

# model_of_line WORDS...: the model that a line without its name is about: what --model says, else what the data is, else
# the form of the arguments, which only Mask R-CNN's scripts have (but for inference, by the third: a folder or a file).
model_of_line() {
    local word
    for word in "$@"; do
        case $word in
            --model=*) family_of "${word#--model=}" && return ;;
        esac
    done
    if has_flag data_root data_lst val_data_lst -- "$@" || [[ -d ${3:-} ]]; then
        echo deeplabv3
    elif has_flag coco_root anno_path ann_file image_dir mindrecord_dir -- "$@" || [[ -n ${1:-} && $1 != -* ]]; then
        echo maskrcnn
    elif [[ -n ${DATA_FILE:-}${DATA_LST:-} && -z ${COCO_ROOT:-} ]]; then
        echo deeplabv3
    elif [[ -n ${COCO_ROOT:-} && -z ${DATA_FILE:-}${DATA_LST:-} ]]; then
        echo maskrcnn
    else
        return 1
    fi
}

# family_of NAME: the folder of a model's scripts, which is also the name of its family; status 1 for another name.
family_of() {
    case $1 in
        deeplabv3 | deeplab_v3_s*) echo deeplabv3 ;;
        maskrcnn | mask_rcnn_r*) echo maskrcnn ;;
        *) return 1 ;;
    esac
}

models_with() {
    local path names=()
    for path in "$(dirname "${BASH_SOURCE[0]}")"/*/"$1"; do
        [[ -x $path ]] && names+=("$(basename "$(dirname "$path")")")
    done
    echo "${names[*]:-none}"
}

# --- training and evaluation ------------------------------------------------------------------------------------------

# flags_from_environment NAME:FLAG...: append --FLAG=VALUE to the array `flags` for every variable that is set.
flags_from_environment() {
    local pair name
    for pair in "$@"; do
        name=${pair%%:*}
        [[ -z ${!name:-} ]] || flags+=("--${pair#*:}=${!name}")
    done
}

# is_rank_table PATH: whether PATH is a rank table, or a folder that holds one under a platform's name.
is_rank_table() {
    [[ $1 == *.json || -d $1 ]] ||
        { [[ -f $1 ]] && head -c 4096 "$1" | grep -aqE '"(server_list|server_count|group_list|rank_list)"'; }
}

# train_stage PRESET FOLDER [RANK_TABLE_FILE] FLAGS...: one stage of DeepLabV3's published recipe on several devices, into
# $train_path, which is FOLDER by default.
train_stage() {
    local preset=$1 table=()
    export train_path=${train_path:-$2} CALLED_AS=${CALLED_AS:-$0}
    shift 2
    if has_flag help -- "$@"; then usage; exit 0; fi
    if [[ -n ${1:-} && $1 != -* ]]; then
        table=("$1")
        shift
    fi
    exec "$(project_root)/scripts/deeplabv3/run_distribute_train.sh" "${table[@]}" --config="$preset" "$@"
}

# check_host PYTHON FLAGS...: what the doctor's quick checks find wrong, on the screen; the run starts all the same.
check_host() {
    local python=$1 word target=()
    shift
    for word in "$@"; do
        [[ $word != --device_target=* ]] || target=("$word")
    done
    "$python" "$(project_root)/src/tools/doctor.py" --quick ${target[@]+"${target[@]}"} 2>/dev/null |
        grep -E '^(warning|failure) ' || true
}

# train_into FOLDER FLAGS...: python train.py into FOLDER/ckpt, or FOLDER/$checkpoint_folder, with FOLDER/log. With --resume it
# goes on in FOLDER itself.
train_into() {
    local folder=$1 root python
    shift
    root=$(project_root)
    python=$(python_command)
    if has_flag resume -- "$@"; then
        mkdir -p "$folder"
    else
        folder=$(new_folder "$folder")
    fi
    check_host "$python" "$@"
    echo "output: $folder (log: $folder/log)"
    logged "$folder/log" "$python" "$root/train.py" --train_dir="$folder/${checkpoint_folder:-ckpt}" "$@"
}

# evaluate_into FOLDER FLAGS...: python eval.py, with its output in FOLDER/eval_log and its numbers in FOLDER/metrics.json.
evaluate_into() {
    local folder root python
    root=$(project_root)
    python=$(python_command)
    folder=$(new_folder "$1")
    shift
    echo "output: $folder (log: $folder/eval_log)"
    logged "$folder/eval_log" "$python" "$root/eval.py" --result_path="$folder/metrics.json" "$@"
}

# newest_checkpoint FOLDER: print the checkpoint of the last step in FOLDER; names end in EPOCH_STEP.
newest_checkpoint() {
    local found
    found=$(find "$1" -maxdepth 1 -name '*-*_*.ckpt' -printf '%f\t%p\n' |
        sed -E 's/^[^\t]*-([0-9]+)_([0-9]+)\.ckpt\t/\1\t\2\t/' | sort -n -k 1,1 -k 2,2 | tail -n 1 | cut -f 3-)
    [[ -n $found ]] || die "$1: no checkpoint"
    echo "$found"
}

# --- benchmarks -------------------------------------------------------------------------------------------------------

# machine_line: the date and the processor that results are of.
machine_line() {
    echo "$(date -I), $(env -u OMP_NUM_THREADS nproc) cores, $(grep -m 1 '^model name' /proc/cpuinfo | cut -d: -f2- | xargs)"
}

# check_seed WORD: a script's SEED has to be a whole number.
check_seed() {
    [[ $1 =~ ^[0-9]+$ ]] || usage_error "SEED '$1' is no number; FLAGs come after it"
}

# run_on_data FOLDER DATA: make FOLDER, the output of a run on the data in DATA, or go on in it. If its training (ckpt)
# has begun on other data, fail.
run_on_data() {
    mkdir -p "$1" 2>/dev/null && [[ -w $1 ]] || die "RUN_DIR: $1 cannot be written; choose another folder"
    if [[ -e $1/data && -e $1/ckpt ]]; then
        [[ $(<"$1/data") == "$2" ]] || die "$1 is a run on the data in $(<"$1/data"), not $2; choose another RUN_DIR" \
            "(or, if the same data is there now, write its new place into $1/data)"
    else
        echo "$2" >"$1/data"
    fi
}

# --- installation -----------------------------------------------------------------------------------------------------

# Packages for building ascend310_infer.
# shellcheck disable=SC2034  # for those who source this
CPP_PACKAGES=(cmake g++ make nlohmann-json3-dev libopencv-dev)

# missing_packages: print the system packages (Debian's names) that are missing.
missing_packages() {
    local python pair
    if ! python=$(host_python); then
        echo python3
    elif [[ -z ${VIRTUAL_ENV:-} ]] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo python3-venv
    fi
    for pair in libGL.so.1:libgl1 libgthread-2.0.so.0:libglib2.0-0 libgomp.so.1:libgomp1 libstdc++.so.6:libstdc++6; do
        library_is_there "${pair%%:*}" || echo "${pair#*:}"
    done
}

# install_packages [PACKAGE...]: install the missing system packages and these, as root or by sudo without a password;
# name them otherwise.
install_packages() {
    local missing name as_root=()
    missing=$(missing_packages | tr '\n' ' ')
    for name in "$@"; do
        dpkg -s "$name" >/dev/null 2>&1 || missing+="$name "
    done
    [[ -n $missing ]] || return 0
    ((EUID == 0)) || as_root=(sudo -n)
    if ! command -v apt-get >/dev/null || { ((EUID)) && ! sudo -n true 2>/dev/null; }; then
        die "missing system packages (Debian's names): $missing"
    fi
    echo "installing the missing system packages: $missing"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086  # a list of words
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
}

library_is_there() {
    local cache
    cache=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || true)
    grep -qF "$1 " <<<"$cache" || compgen -G "/usr/lib/*/$1" >/dev/null || compgen -G "/usr/lib*/$1" >/dev/null
}

# host_python: an interpreter of 3.10 to 3.12, the active environment's first.
host_python() {
    local name
    for name in ${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} python3 python python3.11 python3.12 python3.10; do
        if command -v "$name" >/dev/null && supported "$name"; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null
}

# ensure_environment FILE...: install requirement files into the active virtual environment, or into the project's .venv,
# and put it on the PATH. What is installed already is not downloaded again.
ensure_environment() {
    local root missing environment file arguments=()
    root=$(project_root)
    missing=$(missing_packages | tr '\n' ' ')
    [[ -z $missing ]] || die "missing system packages; as root: apt-get update && apt-get install -y $missing"
    environment=${VIRTUAL_ENV:-$root/.venv}
    if [[ ! -x $environment/bin/pip ]]; then
        echo "making the virtual environment $environment"
        "$(host_python)" -m venv "$environment"
    fi
    supported "$environment/bin/python" || die "$environment: its Python has to be 3.10, 3.11 or 3.12"
    for file in "$@"; do
        arguments+=(-r "$root/$file")
    done
    echo "installing $* into $environment (what is there is kept)"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "${arguments[@]}"
    export PATH="$environment/bin:$PATH" VIRTUAL_ENV="$environment"
}
