#!/usr/bin/env bash
# msgspec: the text of a float is not Python's, so JSON written by it has another hash.
#
# Both texts are the shortest that give the same float back, but msgspec writes 1e-05 as 0.00001 and 1e+16 as 1e16. Files
# that are compared by hash, or cached by it, change when `json` is replaced, and only where numbers are small or large.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check msgspec==0.22.0
cat >"$folder/finding.py" <<'PYTHON'
import json
import random

import msgspec

random.seed(0)
usual = [random.uniform(0.001, 10000) for _ in range(10000)]
assert all(msgspec.json.encode(x).decode() == json.dumps(x) for x in usual), "texts of usual numbers differ"
texts = {x: (json.dumps(x), msgspec.json.encode(x).decode()) for x in (1e-05, 2.5e-06, 1e16)}
print("msgspec", msgspec.__version__)
for x, (python, other) in texts.items():
    print(f"json: {python:8} msgspec: {other}")
    assert json.loads(other) == x, "the float does not come back"
assert texts == {1e-05: ("1e-05", "0.00001"), 2.5e-06: ("2.5e-06", "2.5e-6"),
                 1e16: ("1e+16", "1e16")}, "texts have changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
