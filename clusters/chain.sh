#!/usr/bin/env bash
# From 3D models to the report, on the cluster that this runs on.
#
#   clusters/chain.sh STORE paper    the paper's experiment, on 8 GPUs
#   clusters/chain.sh STORE small    minutes, on CPUs: see the cluster work before you pay for it
#
# STORE is a folder or bucket that all nodes see: /mnt/shared/bridge, s3://BUCKET. For `paper` it holds
# meshes/ and photos/. Run it again after an interruption: every stage goes on where it was.
# SIMULATE, TRAIN and EMBED add options, e.g. TRAIN="--num-workers 2:4 --batch-size 16".
set -euo pipefail
cd "$(dirname "$0")/.."
store=${1:?a folder or bucket that all nodes see} size=${2:?paper or small}

case $size in
  paper)
    simulate=(--preset paper --meshes "$store/meshes" --backgrounds "$store/photos")
    train=(--preset paper --use-gpu True --num-workers 8)
    embed=(--use-gpu True --num-workers 8)
    ;;
  small)
    simulate=(--objects-per-category 7 --trajectories 4 --trajectories-per-shard 14)
    train=(--preset quick --epochs 2 --num-workers 2 --cpus-per-worker 1)
    embed=()
    ;;
  *)
    echo "The size is paper or small, not $size." >&2
    exit 2
    ;;
esac
# Options are words, so they are split on purpose.
simulate+=(${SIMULATE-}) train+=(${TRAIN-}) embed+=(${EMBED-})
data=$store/$size/data distractors=$store/$size/distractors run=$store/$size/run
index=$store/$size/index report=$store/$size/report

python pipelines/synthesize.py "${simulate[@]}" --out "$data"
python pipelines/synthesize.py --kind distractors --exclude "$data" "${simulate[@]}" --out "$distractors"
python pipelines/train.py "${train[@]}" --data "$data" --out "$run"
python pipelines/build_index.py "${embed[@]}" --model "$run/model" --data "$data" \
  --distractors "$distractors" --out "$index"
python pipelines/evaluate.py --index "$index" --out "$report"
