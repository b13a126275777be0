#!/usr/bin/env bash
# Two nodes on one machine: two torchrun agents that meet on loopback and share the run folder.
#
#   scripts/two_nodes.sh DEMO OUT [RANKS_PER_NODE]
#
# DEMO is what `evalkit demo --out DEMO` wrote. On real nodes run the same torchrun line on each, with the first node's
# address in --rdzv-endpoint and OUT on a file system that all nodes share.
set -euo pipefail
demo=${1:?"usage: scripts/two_nodes.sh DEMO OUT [RANKS_PER_NODE]"}
out=${2:?"usage: scripts/two_nodes.sh DEMO OUT [RANKS_PER_NODE]"}
ranks=${3:-1}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

node() {
    torchrun --nnodes 2 --node-rank "$1" --nproc-per-node "$ranks" --master-addr 127.0.0.1 --master-port "$port" \
        -m evalkit run --model "$demo/checkpoint" --card internvl2 --data-root "$demo" --out "$out"
}

node 1 &
second=$!
node 0
wait "$second"
