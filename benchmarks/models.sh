#!/usr/bin/env bash
# Builds the two models of docs/models.md anew, one after the other: about three hours on two cores.
#
#   bash benchmarks/models.sh CAMVID NUCLEI
#
# CAMVID and NUCLEI are the folders of benchmarks/camvid.sh and benchmarks/nuclei.sh. Environment: RUN_DIR, the output
# folder (runs/models). The same command continues where it was stopped.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh
[[ ${1:-} != -h && ${1:-} != --help ]] || { usage; exit 0; }
(($# == 2)) || usage_error "expected two folders, CAMVID and NUCLEI"
[[ -f $1/ImageSets/Segmentation/train.txt ]] || usage_error "CAMVID '$1' has no ImageSets/Segmentation/train.txt"
[[ -f $2/annotations/instances_train2018.json ]] ||
    usage_error "NUCLEI '$2' has no annotations/instances_train2018.json"
run=$(realpath -m "${RUN_DIR:-runs/models}")
RUN_DIR=$run/camvid bash benchmarks/camvid.sh "$1" 1
RUN_DIR=$run/nuclei bash benchmarks/nuclei.sh "$2" 1
