#!/usr/bin/env bash
# Stop Ray on every host of an on-premise cluster.
#
#   clusters/onprem_down.sh [clusters/onprem.yaml]
#
# `ray down` stops the head's Ray alone and marks the workers as gone. The head goes first, because its
# autoscaler would start again what is stopped on a worker. Exit code 1 where a host cannot be reached
# or Ray still runs there; run it again then. Needs a `python` that has Ray, as `ray up` does.
set -uo pipefail
config=${1:-"$(dirname "$0")/onprem.yaml"}

ray down --yes "$config"

read -r -d '' list <<'PYTHON'
import sys
from os.path import expanduser
import yaml
config = yaml.safe_load(open(sys.argv[1]))
provider, auth = config["provider"], config["auth"]
print(auth["ssh_user"], expanduser(auth["ssh_private_key"]))
print(provider["head_ip"], *provider["worker_ips"], sep="\n")
PYTHON
hosts=$(python -c "$list" "$config") || exit 1
{ read -r user key; mapfile -t addresses; } <<<"$hosts"

left=0
for address in "${addresses[@]}"; do
  # A login shell, as set-up put `ray` on its path.
  if ssh -i "$key" -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=no \
    -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$user@$address" \
    'bash -lic "ray stop" >/dev/null 2>&1; ! pgrep -u "$(id -u)" -x raylet && ! pgrep -u "$(id -u)" -x gcs_server' </dev/null
  then
    echo "$address: stopped"
  else
    echo "$address: not reached, or Ray still runs there" >&2
    left=1
  fi
done
exit "$left"
