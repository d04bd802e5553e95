#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Build the offline inference program: build.sh [BUILD_DIR] [--aarch64=SYSROOT] [flags of cmake, e.g. -DSANITIZE=ON]
#
# BUILD_DIR is ascend310_infer/build by default; what is up to date there is not built again. The backend for Ascend is
# built if MS_LITE_HOME or LITE_HOME names a MindSpore Lite package, the one for CPUs if $PYTHON has the PyPI wheel
# openvino.
# With --aarch64 the program is for an aarch64 host, its libraries are those in SYSROOT (sysroot.sh makes one), and
# MS_LITE_HOME has to be Lite's package for aarch64; -DOpenVINO_DIR=FOLDER/cmake adds the aarch64 wheel of openvino.
# A program with -DSANITIZE=ON stops at "libtbbbind ... RTLD_DEEPBIND" where TBB, below OpenCV, is not told of it:
#   TBB_ENABLE_SANITIZERS=1 ASAN_OPTIONS=detect_leaks=0 LD_LIBRARY_PATH=SITE_PACKAGES/openvino/libs BUILD_DIR/main ...
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../scripts/common.sh"
if [[ ${1:-} == -h || ${1:-} == --help ]]; then usage; exit 0; fi

build=$here/build
if [[ $# -gt 0 && $1 != -* ]]; then build=$1; shift; fi
sysroot=
if [[ ${1:-} == --aarch64* ]]; then
    sysroot=${1#--aarch64=}
    [[ -d $sysroot/usr/include ]] || die "'$1': give --aarch64=SYSROOT; $here/sysroot.sh SYSROOT makes one"
    sysroot=$(realpath "$sysroot")
    shift
fi
missing=()
for pair in cmake:cmake make:make "${sysroot:+aarch64-linux-gnu-}g++:g++${sysroot:+-aarch64-linux-gnu}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
header() { compgen -G "$sysroot/usr/include/$1" >/dev/null || compgen -G "$sysroot/usr/local/include/$1" >/dev/null; }
header "opencv4/opencv2/imgcodecs.hpp" || missing+=(libopencv-dev)
header "nlohmann/json.hpp" || missing+=(nlohmann-json3-dev)
[[ ${#missing[@]} -eq 0 ]] || die "missing system packages; as root: apt-get update && apt-get install -y ${missing[*]}"

flags=()
find_openvino='import importlib.util as u; s = u.find_spec("openvino"); print(s and s.submodule_search_locations[0] or "")'
if [[ -n $sysroot ]]; then
    flags+=(-DCMAKE_TOOLCHAIN_FILE="$here/aarch64.cmake" -DCMAKE_SYSROOT="$sysroot")
elif openvino=$("$(python_command)" -c "$find_openvino") && [[ -n $openvino ]]; then
    flags+=(-DOpenVINO_DIR="$openvino/cmake")
fi
MS_LITE_HOME=$(lite_home)
if [[ -n $MS_LITE_HOME ]]; then
    flags+=(-DMINDSPORE_PATH="$MS_LITE_HOME/runtime")
fi
cmake -S "$here" -B "$build" ${flags[@]+"${flags[@]}"} "$@" >&2
cmake --build "$build" --parallel "${BUILD_JOBS:-2}" >&2
echo "$build/main"
