# shellcheck shell=bash
# Servers' programs from Maven, kept in a cache outside the clone. Sourced after paths.sh.
# A folder of the cache is complete or absent: it is filled under another name and renamed.

maven() {
    # -C: a file whose checksum differs is refused.
    mvn -B -C -q "$@" >"$fetched.log" 2>&1 || {
        tail -n 20 "$fetched.log" >&2
        rm -rf "$fetched" "$fetched.log"
        die "$name: fetching from Maven failed"
    }
}

# kept FOLDER COMMAND...: COMMAND fills "$fetched", which becomes FOLDER of the cache; nothing to do when it is there
kept() {
    local folder=$cache/$1 fetched
    shift
    [ ! -d "$folder" ] || return 0
    command -v mvn >/dev/null || skip "mvn is missing (Debian: apt-get install maven)"
    mkdir -p "$cache"
    fetched=$(mktemp -d "$folder.XXXXXX")
    say "$name: fetching from Maven into $folder"
    "$@"
    # Somebody else may have been faster.
    mv -T "$fetched" "$folder" 2>/dev/null || rm -rf "$fetched"
    rm -f "$fetched.log"
}

# with_dependencies GROUP:ARTIFACT:VERSION...: these and what they need
with_dependencies() {
    local coordinate group artifact version pom=$fetched/pom.xml
    {
        echo '<project><modelVersion>4.0.0</modelVersion>'
        echo '<groupId>highwater</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
        for coordinate in "$@"; do
            IFS=: read -r group artifact version <<<"$coordinate"
            echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
        done
        echo '</dependencies></project>'
    } >"$pom"
    maven -f "$pom" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fetched"
    rm "$pom"
}

# unpacked GROUP:ARTIFACT:VERSION:tar.gz:CLASSIFIER: the files of one archive
unpacked() {
    maven dependency:copy -Dartifact="$1" -DoutputDirectory="$fetched"
    tar -C "$fetched" -xzf "$fetched"/*.tar.gz
    rm "$fetched"/*.tar.gz
}
