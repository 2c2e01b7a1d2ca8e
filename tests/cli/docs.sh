# Manual pages render without a warning; completion files are valid and complete what they should.
# shellcheck shell=bash disable=SC2154,SC2034,SC2207  # run by tests/cli/run; COMP_* are bash's
for page in "$docs"/*.[18]; do
    name=$(basename "$page")
    if command -v groff >/dev/null; then
        groff -man -ww -Tutf8 -z "$page" 2>warnings
        ok "$name renders without a warning" test ! -s warnings
    else
        skip "$name renders" "no groff"
    fi
    ok "$name has a name line" grep -q '^stella.* \\- ' "$page"
done
on_page() {
    local option missing=0
    for option in $("$stella" scan image --help | grep -oE -- '^ {6}--[a-z-]+' | grep -v help); do
        grep -qF -- "${option//-/\\-}" "$docs/stella-scan.1" || { echo "missing $option"; missing=1; }
    done
    return $missing
}
ok "every option of scan image is on its page" on_page
for program in stella stella-act stella-watchdog; do
    ok "bash completion of $program parses" bash -n "$docs/$program.bash"
    if command -v zsh >/dev/null; then ok "zsh completion of $program parses" zsh -n "$docs/_$program"; else skip "zsh completion of $program" "no zsh"; fi
    if command -v fish >/dev/null; then ok "fish completion of $program parses" fish -n "$docs/$program.fish"; else skip "fish completion of $program" "no fish"; fi
done

# shellcheck source=/dev/null
. "$docs/stella.bash"
# shellcheck source=/dev/null
. "$docs/stella-act.bash"
compopt() { :; }
completes() { # expected, words...
    local want="$1"
    shift
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    "_${1//-/_}"
    ok "completes '${*}'" test "${COMPREPLY[*]}" = "$want"
}
completes "scan serve scanner" stella s
completes "image --help" stella scan ""
completes "list show cancel retry --help" stella scanner jobs ""
completes "--format --foreign-layers --force" stella scan image --fo
completes "table cyclonedx-json spdx-json syft-json purls" stella scan image app.tar --format ""
completes "cyclonedx-json" stella scan image --format c
completes "" stella scan image app
completes "--quick" stella doctor --q
completes "text table json markdown" stella doctor --format ""
completes "list" stella doctor l
completes "check.scanner.queue" stella doctor --check check.scanner.q
completes "check.scanner.queue" stella doctor run -c check.scanner.q
completes "kubernetes" stella-act k
completes "asked always never" stella-act kubernetes --end ""
completes "--find-zombies" stella-act kubernetes --fi
# shellcheck source=/dev/null
. "$docs/stella-watchdog.bash"
completes "run" stella-watchdog ru
completes "raise freeze" stella-watchdog run --relief ""
