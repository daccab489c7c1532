#!/bin/sh
# Everything that wants a CUDA device, unattended and without a network: the tests, and the reference runs.
#
#     sh benchmarks/cuda.sh [folder for the results]          in the root of a checkout, under 10 minutes
#
# What is not installed (torchvision, transformers, peers, pytest) is left out, and said to be. PYTHON chooses the interpreter.
set -u
folder=${1:-benchmarks/results}
python=${PYTHON:-python3}
export PYTHONPATH=.:exporters${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
mkdir -p "$folder"
failed=0

if "$python" -c 'import pytest, hypothesis'; then
  "$python" -m pytest -q -p no:cacheprovider tests/capture/test_cuda.py || failed=1
else
  echo "the tests are left out: pytest and hypothesis are not installed"
fi
"$python" -m benchmarks overhead --device cuda --steps eval-grad,eval --batches small --limit 0.4 --timeout 60 \
  --models chain,resnet50-64,gpt2 --modes hooks,modules,recorded,graph --json "$folder/overhead-peers-cuda.json" || failed=1
"$python" -m benchmarks overhead --device cuda --no-peers --limit 0.4 --timeout 60 --modes hooks,modules,recorded,backward,gradients,statistics,values,stream,graph \
  --json "$folder/overhead-cuda.json" || failed=1
exit $failed
