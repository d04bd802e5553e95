#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Make a sysroot for build.sh --aarch64 of this Debian's or Ubuntu's aarch64 packages: sysroot.sh FOLDER [PACKAGE...]
#
# Headers and libraries of OpenCV, nlohmann-json and the C++ library, and the packages named besides, are downloaded and
# unpacked in FOLDER (about 1.1 GB). Nothing is installed, the machine's own packages stay as they are, and root is not
# needed. The program runs on hosts with the same OpenCV and no older C library. For another distribution copy /usr and
# /lib of such a host to a folder and give that to build.sh.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"
if [[ ${1:-} == -h || ${1:-} == --help ]]; then usage; exit 0; fi
[[ $# -gt 0 && $1 != -* ]] || usage_error "the folder is missing"
command -v apt-get >/dev/null || die "needs apt-get; copy /usr and /lib of an aarch64 host instead"
[[ ! -e $1 ]] || die "$1: is there already; give another folder"

# unpack ARCHIVES ROOT: all packages, and what their installation would link.
unpack() {
    local package link target
    for package in "$1"/*.deb; do
        dpkg -x "$package" "$2"
    done
    while read -r link; do  # links to absolute paths would lead out of the sysroot
        target=$(readlink "$link")
        [[ ! -e $2$target ]] || ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" "$2$target")" "$link"
    done < <(find "$2/usr/lib" "$2/lib" -lname '/*')
    for link in blas/libblas lapack/liblapack; do  # alternatives, linked when they are installed
        [[ ! -e $2/usr/lib/aarch64-linux-gnu/$link.so.3 ]] ||
            ln -sfn "$link.so.3" "$2/usr/lib/aarch64-linux-gnu/$(basename "$link").so.3"
    done
}

folder=$(realpath -m "$1")
shift
work=$folder.unfinished
mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/root"
: >"$work/apt/status"
cat >"$work/apt/apt.conf" <<END
APT { Architecture "arm64"; Architectures { "arm64"; }; Install-Recommends "false"; Sandbox::User ""; };
Dir::State "$work/apt";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt";
END
export APT_CONFIG=$work/apt/apt.conf
apt-get update -qq
apt-get install -qq -y --download-only libopencv-dev nlohmann-json3-dev libstdc++-12-dev libc6-dev "$@" >/dev/null
unpack "$work/apt/archives" "$work/root"
mv "$work/root" "$folder"
rm -r "$work"
echo "$folder"
