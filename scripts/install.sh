#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Install MindSeg's requirements into a virtual environment; the Dockerfile runs this.
#
#   install.sh --prefix=DIR [--device=Ascend|CPU] [--cpp] [requirement files, by default requirements.txt]
#
# --cpp installs the compiler and the libraries of ascend310_infer, too (as root, or by sudo without a password).
# Checks the machine first: Python 3.10 to 3.12, the libraries that OpenCV loads (installed where that is allowed), and
# for Ascend a CANN that this MindSpore was made for. ASCEND_HOME_PATH says where CANN is (/usr/local/Ascend/...).
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

BASE="a CANN image such as quay.io/ascend/cann:9.1.0-910b-ubuntu22.04-py3.11 (docker build --build-arg FROM_IMAGE_NAME=...)"
CANN_VERSIONS="8.2 8.3 8.5 9.0 9.1"  # what MindSpore 2.10's own check takes

prefix='' device=Ascend packages=() files=()
while (($#)); do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --prefix=*) prefix=${1#--prefix=} ;;
        --device=*) device=${1#--device=} ;;
        --cpp) packages=("${CPP_PACKAGES[@]}") ;;
        -*) usage_error "unknown flag $1" ;;
        *) files+=("$1") ;;
    esac
    shift
done
[[ -n $prefix ]] || usage_error "--prefix is missing: the folder of the new environment"
[[ $device == Ascend || $device == CPU ]] || usage_error "--device=$device: expected Ascend or CPU"

# cann_version: "8.5" of the CANN that is installed, nothing without one.
cann_version() {
    local file
    for file in "${ASCEND_HOME_PATH:-/usr/local/Ascend/ascend-toolkit/latest}/compiler/version.info" \
        /usr/local/Ascend/cann/compiler/version.info; do
        if [[ -f $file ]]; then
            sed -n 's/^Version=\([0-9]*\.[0-9]*\).*/\1/p' "$file" | head -n 1
            return 0
        fi
    done
}

if [[ $device == Ascend ]]; then
    found=$(cann_version)
    [[ " $CANN_VERSIONS " == *" ${found:-none} "* ]] ||
        die "CANN ${found:-is not installed}: MindSpore 2.10 needs one of $CANN_VERSIONS; start from $BASE," \
            "or set ASCEND_HOME_PATH to the folder of CANN"
fi
install_packages "${packages[@]}"
host_python >/dev/null ||
    die "Python 3.10, 3.11 or 3.12 is needed, $(python3 --version 2>/dev/null || echo none) is here; start from $BASE"
export VIRTUAL_ENV
mkdir -p "$prefix"
VIRTUAL_ENV=$(realpath "$prefix")
ensure_environment "${files[@]:-requirements.txt}"
GLOG_v=3 "$VIRTUAL_ENV/bin/python" - <<'PYTHON'
import mindspore, cv2, mmcv, pycocotools  # noqa: F401  all that has to load is there
print(f"MindSpore {mindspore.__version__} and OpenCV {cv2.__version__} load")
PYTHON
echo "installed; use it with: source $VIRTUAL_ENV/bin/activate"
