# shellcheck shell=bash
# The life of one server: what `kafka`, `cassandra` and `registry` share. Sourced by them; they define
#   name         what it is called; its files are in $dir/$name, with `-secured` in the other flavour
#   fetch        puts the program into the cache
#   configure    writes configuration and empty data into $home
#   arguments    sets `run`, what java is given
#   answers      true when it can be used
#   first_start  what is left to do once it answers for the first time
#   exports      prints the lines that tests read
# and call `server "$@"`.

# shellcheck source=paths.sh
. "$(dirname "${BASH_SOURCE[0]}")/paths.sh"
# shellcheck source=jars.sh
. "$(dirname "${BASH_SOURCE[0]}")/jars.sh"

secured=''
if [ "${1-}" = --secured ]; then
    secured=1
    shift
fi

skip() {
    say "skipped: $name: $*"
    exit "$SKIPPED"
}

# Sets `java`: a Java 17, the release that these three servers were tried with (Cassandra 5.0 starts with no later one).
find_java() {
    local candidate
    [ "$(uname -s)" = Linux ] || skip "it is started on Linux only"
    for candidate in "${JAVA_HOME:-/nowhere}/bin/java" "$(command -v java || true)" /usr/lib/jvm/*17*/bin/java; do
        if [ -x "$candidate" ] && "$candidate" -version 2>&1 | grep -q 'version "17\.'; then
            java=$candidate
            return
        fi
    done
    skip "Java 17 is missing (Debian: apt-get install openjdk-17-jre-headless)"
}

# The process is told by an argument of its own: a number from an old file may meanwhile be somebody else's.
alive() {
    [ -s "$home/pid" ] && tr '\0' '\n' <"/proc/$(cat "$home/pid")/cmdline" 2>/dev/null | grep -qxFe "$tag"
}

paused() { grep -q '^State:.T' "/proc/$(cat "$home/pid")/status" 2>/dev/null; }

# ended PID: none of its threads is left. The one that carries the number may be dead while others still hold the ports.
ended() {
    [ -d "/proc/$1" ] || return 0
    local threads=("/proc/$1/task/"*)
    [ ${#threads[@]} -le 1 ] && grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}

# Waits until a process that was told to end has.
gone() {
    local pid=$1 end=$((SECONDS + wait_max))
    until ended "$pid"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
    rm -f "$home/pid"
}

launch() {
    local run=() port
    if alive; then
        say "$name: runs already ($(cat "$home/pid"))"
        return
    fi
    find_java
    fetch
    for port in "${ports[@]}"; do
        ! taken "$port" || die "$name: port $port is taken (HIGHWATER_STACK_PORTS names the first of $PORTS others)"
    done
    if [ ! -f "$home/configured" ]; then
        rm -rf "$home"
        mkdir -p "$home/data"
        configure
        : >"$home/configured"
    fi
    arguments
    # Half the processor time of a start is the optimizing compiler's, which short tests never get back.
    local always=("$tag" -XX:TieredStopAtLevel=1)
    # shellcheck disable=SC2206
    always+=(${HIGHWATER_STACK_JAVA-})
    [ ! -f "$home/log" ] || cat "$home/log" >>"$home/log.before"
    # The number is on disk before there is a server. A session of its own: an interrupt of the terminal is not for it.
    # shellcheck disable=SC2016
    setsid bash -c 'echo $$ >"$1"; shift; exec "$@"' stack "$home/pid" "$java" "${always[@]}" "${run[@]}" \
        >"$home/log" 2>&1 </dev/null &
    disown
}

ready() {
    local end=$((SECONDS + wait_max)) why=''
    until [ -s "$home/pid" ] && answers; do
        if [ -s "$home/pid" ] && ! alive; then
            why="ended before it answered"
        elif [ $SECONDS -ge $end ]; then
            why="does not answer after $wait_max s"
        fi
        if [ -n "$why" ]; then
            tail -n 30 "$home/log" >&2 || true
            die "$name: $why; the end of $home/log is above"
        fi
        sleep 0.1
    done
    if [ ! -f "$home/started" ]; then
        first_start
        : >"$home/started"
    fi
}

signal() {
    alive || die "$name: does not run"
    kill "-$1" "$(cat "$home/pid")"
}

stop() {
    local pid
    alive || return 0
    pid=$(cat "$home/pid")
    kill -TERM "$pid"
    # A paused process takes no notice.
    kill -CONT "$pid" 2>/dev/null || true
    gone "$pid" || {
        say "$name: did not end within $wait_max s, killed"
        die_now
    }
}

die_now() {
    local pid
    alive || return 0
    pid=$(cat "$home/pid")
    kill -KILL "$pid" 2>/dev/null || true
    gone "$pid" || die "$name: cannot be killed"
}

state() {
    if ! alive; then
        echo "$name: stopped"
    elif paused; then
        echo "$name: paused ($(cat "$home/pid"))"
    else
        echo "$name: runs ($(cat "$home/pid")), data and log in $home"
    fi
}

# http_status PORT PATH: without a client that may not be installed
http_status() {
    local line
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' "$2" >&3
    read -r -t 5 line <&3 || line=''
    exec 3>&-
    line=${line#* }
    echo "${line%% *}"
}

server() {
    local action=${1-}
    shift || true
    [ -z "$secured" ] || name=$name-secured
    home=$dir/$name
    tag=-Dhighwater.stack=$home
    case $action in
        check) find_java && fetch ;;
        launch) launch ;;
        ready) ready ;;
        exports) [ ! -f "$home/started" ] || exports ;;
        start) [ -f "$mark" ] || die "nothing was brought up in $dir"; launch && ready ;;
        stop) stop ;;
        restart) stop && launch && ready ;;
        pause) signal STOP ;;
        resume) signal CONT ;;
        kill) alive || die "$name: does not run"; die_now ;;
        discard) die_now && rm -rf "$home" ;;
        running) alive ;;
        status) state ;;
        log) cat "$home/log" ;;
        tool) tool "$@" ;;
        *) die "usage: $(basename "$0") [--secured] start|stop|restart|pause|resume|kill|status|log|tool" ;;
    esac
}
