# shellcheck shell=sh
# Helpers of the truth tests; see README.md. Sourced with the debug program in $1.
# shellcheck disable=SC2034 # for the scripts
catalog=$1
count=0
failed=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
LC_ALL=C
export LC_ALL

need() {
    for tool; do
        command -v "$tool" >/dev/null || {
            echo "1..0 # SKIP no $tool"
            exit 77
        }
    done
}

# packages FIELD... < records: the fields of each package, '|' between them, one line a package
packages() {
    awk -v keys="$*" '
        function flush(  i, line) {
            if (!open) return
            line = value[key[1]]
            for (i = 2; i <= n; i++) line = line "|" value[key[i]]
            print line
            open = 0
        }
        BEGIN { n = split(keys, key, " ") }
        /^package / { flush(); open = 1; split("", value); next }
        /^  / { if (open && !($1 in value)) { k = $1; sub(/^  [^ ]+ /, ""); value[k] = $0 } next }
        { flush() }
        END { flush() }'
}

# same EXPECTED GOT WHAT: two files are equal
same() {
    count=$((count + 1))
    if cmp -s "$1" "$2"; then
        echo "ok $count - $3 ($(wc -l <"$1") lines)"
    else
        failed=1
        echo "not ok $count - $3"
        diff "$1" "$2" | head -20 | sed 's/^/# /'
    fi
}

finish() {
    echo "1..$count"
    exit "$failed"
}
