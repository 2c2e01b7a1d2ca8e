# The record of scans: empty, filled by a failed scan, asked for, retried.
# shellcheck shell=bash disable=SC2154  # run by tests/cli/run
header='JOB           IMAGE                                     SIZE      STATUS      REASON             POOL      ATTEMPT  PEAK      UPDATED'
run scanner jobs list
ok "empty list: exit 0" test "$code" = 0
ok "empty list: header only" diff <(echo "$header") out
ok "asking makes no state" test ! -e home
run scanner jobs list --format json
ok "empty list as JSON" test "$(jq -c . out)" = '[]'
expect 4 "no job 'abcdef' (stella scanner jobs list shows them)" scanner jobs show abcdef
expect 4 "no failed scan of none.tar in the last 30d; run without --retry" scan image none.tar --retry

run scan image ./none.tar --quiet
ok "a scan that cannot work fails" test "$code" != 0
ok "one line on standard error" test "$(wc -l <err)" = 1
run scanner jobs list --status failed --last 1h --format json
ok "it is recorded as failed" test "$(jq -r '.[0].status + " " + .[0].image + " " + (.[0].attempt | tostring)' out)" = "failed ./none.tar 1"
id=$(jq -r '.[0].id' out)
ok "id is 32 hex digits" grep -qE '^[0-9a-f]{32}$' <<<"$id"
ok "the record is private" test "$(stat -c %a home home/stella.db | paste -sd' ')" = "700 600"
run scanner jobs show "${id:0:6}"
ok "show by prefix" grep -qx "job:          $id" out
run scanner job details "$id"
ok "job details is the same" grep -qx "job:          $id" out
run scanner jobs list --status completed
ok "another status: header only" diff <(echo "$header") out
run scanner jobs list --status completed,failed
ok "several words" test "$(wc -l <out)" = 2
run scan image ./none.tar --retry
ok "a retry says what failed before" grep -q "^stella: retry of job $id, which ended " err
run scanner jobs list --format json
ok "the retry is attempt 2 and names the first" test "$(jq -r '.[0] | (.attempt | tostring) + " " + .resumedFrom' out)" = "2 $id"
expect 2 "invalid job id 'abc' (6 to 32 hex digits, lowercase)" scanner jobs show abc
expect 4 "no job '0000000000' (stella scanner jobs list shows them)" scanner jobs show 0000000000
expect 2 "no job given (stella scanner jobs list shows them)" scanner jobs show
run scanner jobs list --status fialed
ok "unknown status: exit 2" test "$code" = 2
ok "unknown status: the words" grep -q 'failed, cancelled; reasons: oom' err
expect 2 "duration '3651d' for --last is longer than 10 years" scanner jobs list --last 3651d
expect 2 "invalid number '0' for --limit (1 to 10000)" scanner jobs list --limit 0

STELLA_HOME=/proc/none run scan image ./none.tar --quiet
ok "no state directory: a warning" grep -q '^stella: warning: .*this scan is not recorded$' err
ok "no state directory: the scan goes on" test "$(wc -l <err)" = 2
