# Help goes to standard output, fits 80 columns, teaches by example, and the man page says the same.
# shellcheck shell=bash disable=SC2154  # run by tests/cli/run
fits() { ! LC_ALL=C.UTF-8 grep -nE '^.{81,}' out; }
no_search_words() { ! grep -niE 'out of memory|heap exhausted|memory allocation failed' "$@"; }

commands=("" "scan" "scan image" "image" "image inspect" "image layers" "scanner" "scanner jobs" "scanner jobs list"
    "scanner jobs show" "scanner jobs cancel" "scanner jobs retry" "scanner queue" "scanner queue status" "scanner status"
    "scanner stats"
    "scanner config" "scanner config get" "scanner config set" "scanner config unset" "scanner config list"
    "scanner config history" "scanner logs" "scanner deadletter" "scanner deadletter list" "scanner deadletter retry"
    "scanner cache" "scanner cache stats" "scanner cache prune" "doctor" "doctor run"
    "doctor list" "doctor export" "obs" "obs metrics" "version" "help")
for c in "${commands[@]}"; do
    read -ra words <<<"$c"
    run "${words[@]}" --help
    ok "stella $c --help: exit 0" test "$code" = 0
    ok "stella $c --help: nothing on standard error" test ! -s err
    ok "stella $c --help: fits 80 columns" fits
    ok "stella $c --help: has examples" grep -q '^Examples:' out
    # Logs are searched for these words (operator-surface 6.2): help must not have them.
    ok "stella $c --help: no words that mean a death" no_search_words out
    cp out first
    run help "${words[@]}"
    ok "stella help $c: the same" diff first out
    run "${words[@]}" -h
    ok "stella $c -h: the same" diff first out
done
run scan image --nonsense --help
ok "help works on a broken line" test "$code" = 0

# Every example in help is a command line that parses.
"$stella" --help >all
for c in "scan image" "image inspect" "image layers" "scanner jobs list" "scanner jobs show" \
    "scanner jobs cancel" "scanner jobs retry" "scanner deadletter list" "scanner deadletter retry" "scanner config get" \
    "scanner config set" "scanner config unset" "scanner config history" "scanner stats" "scanner queue status" \
    "scanner cache stats" "scanner cache prune" "doctor run" "doctor list" "obs metrics" version help; do
    read -ra words <<<"$c"
    "$stella" "${words[@]}" --help >>all
done
grep -E '^ {6}(stella|docker)' all | sed -E 's/^ +//; s/^[^|]*\| stella/stella/; s/ \|.*//' | sort -u | grep -v '^stella serve' | while read -r line; do # which would serve
    read -ra words <<<"${line#stella }"
    "$stella" --parse-only "${words[@]}" >/dev/null 2>example.err </dev/null || echo "$line: $(cat example.err)"
done >bad
ok "no example is a usage error" test ! -s bad

run version
ok "version: exit 0" test "$code" = 0
ok "version: first line" grep -qE '^stella [0-9]+\.[0-9]+\.[0-9]+' out
ok "version: libraries" grep -qE '^libraries: .*zstd-[0-9].*sqlite-[0-9]' out
ok "version: sandbox" grep -qE '^sandbox here: seccomp (filters|missing), landlock (ABI [0-9]+|missing)' out
cp out first
run --version
ok "--version: the same" diff first out
run -V
ok "-V: the same" diff first out
"$stella" --help >/dev/full 2>err
ok "a full disk is an error" test $? = 0 -o -s err
