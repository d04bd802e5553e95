#!/usr/bin/env bash
# The quick start with several seeds: its results, its times, and the processor that they are of.
#
#   bash benchmarks/quickstart_seeds.sh [SEED...]     (1 2 3 4 5)
#
# Environment: RUN_DIR, the output folder (runs/quickstart_seeds), with a folder per seed. Exit status 1 if a seed is
# below a required result.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh
run=$(new_folder "$(realpath -m "${RUN_DIR:-runs/quickstart_seeds}")")
echo "$(machine_line)," \
    "$(grep -m 1 '^flags' /proc/cpuinfo | tr ' ' '\n' | grep -E '^(sse4_1|avx|avx2|avx512f|avx512_vnni|amx_tile)$' | xargs)"
status=0
(($#)) || set -- 1 2 3 4 5
for seed in "$@"; do
    RUN_DIR=$run/seed_$seed bash scripts/quickstart.sh --seed="$seed" >"$run/seed_$seed.log" 2>&1 || status=1
    echo "seed $seed: $(grep -hoP '^held-out \K.*(?= \(required)' "$run/seed_$seed.log" | paste -sd, | sed 's/,/, /g')," \
        "$(grep -oP '^took \K\d+ s' "$run/seed_$seed.log" || echo "no end: $run/seed_$seed.log")"
done
exit "$status"
