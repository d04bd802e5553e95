#!/usr/bin/env bash
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# Start a container with this host's Ascend devices, a folder of data and a folder of models.
#
#   docker_start.sh IMAGE DATA_DIR MODEL_DIR [--dry_run] [command and its arguments, by default bash]
#
# Both folders keep their paths inside. --dry_run prints the command alone. Not run on Ascend.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage; exit 0; }
[[ $# -ge 3 ]] || usage_error "expected IMAGE DATA_DIR MODEL_DIR, got $# words"
image=$1 data=$2 models=$3
shift 3
for folder in "$data" "$models"; do
    [[ -d $folder ]] || die "$folder: no such folder"
done
data=$(realpath "$data") models=$(realpath "$models")
dry_run=''
if [[ ${1:-} == --dry_run ]]; then
    dry_run=yes
    shift
fi
[[ ${1:-} != -* ]] || usage_error "$1: unknown flag; a command starts with its program"

command=(docker run --rm --ipc=host --network=host --ulimit memlock=-1)
[[ ! -t 0 ]] || command+=(-it)
for device in /dev/davinci[0-9]* /dev/davinci_manager /dev/devmm_svm /dev/hisi_hdc; do
    [[ ! -e $device ]] || command+=("--device=$device")
done
# The driver belongs to the host; CANN and all else to the image. hccn.conf has the device addresses for rank tables.
for path in /usr/local/Ascend/driver /usr/local/dcmi /usr/local/bin/npu-smi /etc/ascend_install.info /etc/hccn.conf; do
    [[ ! -e $path ]] || command+=("--volume=$path:$path:ro")
done
command+=("--volume=$data:$data" "--volume=$models:$models" "$image" "${@:-bash}")
if [[ -n $dry_run ]]; then
    printf '%q ' "${command[@]}"
    echo
    exit 0
fi
command -v docker >/dev/null || die "docker is not installed; --dry_run prints what would be started"
compgen -G '/dev/davinci[0-9]*' >/dev/null || echo "note: this host has no Ascend device (/dev/davinci0): CPU only" >&2
exec "${command[@]}"
