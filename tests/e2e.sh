#!/usr/bin/env bash
# The whole chain with the tiny model, by the commands a user would type: render, train, resume, evaluate, predict;
# and the web page in a browser, where one is installed: screenshots in OUT, out/ if not given.
# usage: tests/e2e.sh BIN   (the folder of the unclasp command)
set -euo pipefail
# As in tests/conftest.py: the threads of tiny networks wait busily for each other.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
unclasp="$(cd "$1" && pwd)/unclasp"
here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"

"$unclasp" synth preview --out sheet.png --count 2
"$unclasp" synth write --out data --count 12 --size 96
"$unclasp" train tiny --data interhand:data --out run --max-steps 3
"$unclasp" train tiny --data interhand:data --out run --resume
"$unclasp" evaluate interhand:data --weights run/weights.safetensors --out report.json
"$unclasp" predict data/images/train --weights run/weights.safetensors --out poses

test "$(find poses -name '*.png' | wc -l)" -eq 12
test "$(find poses -name '*.json' | wc -l)" -eq 12
python3 - <<'PY'
import json

report = json.load(open("report.json"))
lines = [json.loads(line) for line in open("run/log.jsonl")]
assert report["samples"]["all"] == 12, report["samples"]
assert lines[-1]["step"] == 6, lines[-1]
PY
"$(dirname "$unclasp")/python" "$here/browser_demo.py" "$(dirname "$unclasp")" "${OUT:-$here/../out}"
echo "end to end: passed"
