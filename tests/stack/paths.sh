# shellcheck shell=bash
# Where the stack runs, and on which ports. Sourced; starts nothing, writes nothing.

# Exit code of everything that cannot be tried on this machine.
SKIPPED=77

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${HIGHWATER_CACHE:-$HOME/.cache/highwater}/stack
dir=$(realpath -m "${HIGHWATER_STACK_DIR:-${TMPDIR:-/tmp}/highwater-stack-$(id -u)}")
# Seconds that one server may take until it answers, and until it has ended.
wait_max=${HIGHWATER_STACK_WAIT:-90}
# Ports that the stack takes from its first one on.
PORTS=16

say() { printf 'stack: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# A directory with this file in it is ours to wipe; no other one is.
mark=$dir/.highwater-stack

# taken PORT: something listens there
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Sets `base`, the first port. The first `up` in a run directory decides.
first_port() {
    local wanted=${HIGHWATER_STACK_PORTS-}
    [ -z "$wanted" ] || [[ $wanted =~ ^[0-9]+$ ]] || die "HIGHWATER_STACK_PORTS is a port, not '$wanted'"
    base=$wanted
    if [ -f "$dir/ports" ]; then
        base=$(cat "$dir/ports")
        [ "${wanted:-$base}" = "$base" ] ||
            die "the stack in $dir has the ports from $base on, not from $wanted on: 'down' first"
    elif [ -z "$wanted" ]; then
        free_ports
    fi
}

# Sets `base`, the first of so many ports in a row that nobody listens on.
free_ports() {
    local offset
    for base in $(seq 17100 "$PORTS" 19900); do
        for offset in $(seq 0 $((PORTS - 1))); do
            ! taken $((base + offset)) || continue 2
        done
        return
    done
    die "no $PORTS free ports in a row"
}
