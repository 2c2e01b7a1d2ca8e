# Configuration, log, queue and status without a service.
# shellcheck shell=bash disable=SC2154  # run by tests/cli/run
run scanner config get worker.memory_limit
ok "a default" test "$(cat out) $code" = "4Gi 0"
ok "asking makes no state" test ! -e home
run scanner config get timeouts
ok "a group" test "$(cat out)" = "timeouts.scan = 20m"
run scanner config set worker.memory_limit 8589934592
ok "set says the canonical value" test "$(cat out)" = "worker.memory_limit = 8Gi"
run scanner config get worker.memory_limit
ok "it is stored" test "$(cat out)" = "8Gi"
run scanner config set worker.memory_limit 8Gi
ok "the same value again" test "$(cat out) $code" = "worker.memory_limit = 8Gi (no change) 0"
run scanner config set worker.memory_limit 1Gi
ok "below the recommendation: a warning" grep -q '^stella: warning: .*under the recommended 4Gi' err
run scanner config set worker.memory_limit 900Ti
ok "over the host's memory: a warning" grep -q "^stella: warning: .*over this host's memory" err
run scanner config get worker --format json
ok "a group as JSON" test "$(jq -c '[.[] | .key + "=" + .value]' out)" = '["worker.count=1","worker.memory_limit=900Ti"]'
run scanner config get worker.memory_limit --format json
ok "a key as JSON" test "$(jq -r '.origin + " " + (.restartNeeded | tostring)' out)" = "set true"
run scanner config unset worker.memory_limit
ok "unset" test "$(cat out)" = "worker.memory_limit = 4Gi"
run scanner config history worker.memory_limit
ok "history: four changes" test "$(tail -n +2 out | wc -l)" = 4
ok "history: the newest first" grep -q "900Ti .*(default)" <(sed -n 2p out)
run scanner config history --format ndjson
ok "history as NDJSON" test "$(jq -r .value out | paste -sd,)" = "null,900Ti,1Gi,8Gi"
run scanner config list
ok "list: every key" test "$(tail -n +2 out | wc -l)" -ge 10
expect 2 "unknown key 'worker.memlimit'; did you mean worker.memory_limit?" scanner config get worker.memlimit
expect 2 "unknown key 'worker.memlimit'; did you mean worker.memory_limit?" scanner config set worker.memlimit 1Gi
expect 2 "invalid quantity '8 gigs' for worker.memory_limit (examples: 4Gi, 512Mi, 2147483648)" \
    scanner config set worker.memory_limit '8 gigs'
expect 2 "quantity '16Mi' for worker.memory_limit is below the least accepted, 32Mi" scanner config set worker.memory_limit 16Mi
expect 2 "invalid value 'yes' for cache.layer_dedup (true or false)" scanner config set cache.layer_dedup yes
expect 2 "invalid number '0' for worker.count (1 to 256)" scanner config set worker.count 0
expect 2 "no key given (stella scanner config list shows them)" scanner config get
expect 2 "no value given (stella scanner config set worker.count 1)" scanner config set worker.count
expect 4 "no pool 'nope' (stella scanner workers add --pool nope makes it)" scanner config set routing.large_image_pool nope
run scanner config set routing.large_image_threshold 2Gi
run scanner queue status
ok "routing without a pool is said" grep -qx "routing: *inactive: no pool set" out
ok "queue: empty" grep -q "^queue depth: *0 " out
run scanner queue status --format json
ok "queue as JSON" test "$(jq -r '[.queue_depth, .failure_rate, .backlog_growing] | tostring' out)" = "[0,0,false]"
run scanner status
ok "status without a service" grep -q "^status: no service" out

# ---- the log of local scans
run scan image ./none.tar --quiet
run scanner logs
ok "a scan's beginning and end" test "$(grep -c 'scan: ' out)" = 2
run scanner logs --level error --format ndjson
ok "level" test "$(jq -r '.level + " " + .component' out)" = "error scan"
run scanner logs --filter 'NO SUCH file' --last 1h
ok "filter: letters alike, blanks as they are" test "$(wc -l <out)" = 1
run scanner logs --filter 'no.such' --last 1h
ok "filter: no pattern" test ! -s out
run scanner logs --filter 'no.su[c]h' --regex
ok "unless asked" test "$(wc -l <out)" = 1
run scanner logs --tail 1 --format json
ok "tail" test "$(jq length out)" = 1
run scanner logs --filter "out of memory"
ok "no line that is no memory death says out of memory" test ! -s out
run scanner logs --filter 'no such' --fail-if-found
ok "fail if found" test "$code" = 1
expect 2 "empty value for --filter" scanner logs --filter ''
expect 2 "--regex goes with --filter" scanner logs --regex
expect 2 "unknown value 'warning' for --level; did you mean warn? (one of debug, info, warn, error)" scanner logs --level warning
run scanner logs --filter '(' --regex
ok "a wrong pattern" test "$code" = 2
run scanner logs --filter '(a)\1' --regex
ok "a back-reference" grep -q "back-references" err
run scanner logs --last 30m --filter nothing-like-it --fail-if-found
ok "nothing: no output, exit 0" test "$code $(wc -c <out)" = "0 0"

# ---- jobs that a service would do
id=$("$stella" scanner jobs list --format json | jq -r '.[0].id')
expect 2 "job ${id:0:12} was a local scan: stella scan image ./none.tar --retry" scanner jobs retry "$id"
expect 2 "job ${id:0:12} is failed already: there is nothing to cancel" scanner jobs cancel "$id"
expect 4 "no job 'abcdef01' (stella scanner jobs list shows them)" scanner jobs cancel abcdef01
expect 2 "give one job, or --all (stella scanner deadletter list shows them)" scanner deadletter retry
run scanner deadletter list
ok "no dead letter: the header only" test "$(wc -l <out)" = 1
run scanner stats --last 1h
ok "stats: one failed" grep -qx "failed: *1" out
run scanner stats --sbom-metrics --format json
ok "stats of SBOMs" test "$(jq -r .success_rate out)" = 100

# A scan that runs is told to end.
mkfifo pipe
"$stella" scan image - --quiet <pipe >/dev/null 2>scan-err &
pid=$!
exec 9>pipe
for _ in $(seq 100); do
    id=$("$stella" scanner jobs list --status processing --format json | jq -r '.[0].id // empty')
    [ -n "$id" ] && break
    sleep 0.1
done
run scanner jobs cancel "$id"
ok "cancel of a local scan" test "$code" = 0
exec 9>&-
wait "$pid"
run scanner jobs show "$id" --format json
ok "it is cancelled" test "$(jq -r .status out)" = cancelled

# ---- a service that is not there, damage
STELLA_SERVER=unix:$work/none.sock expect 10 "no service answers at $work/none.sock" scanner status
STELLA_SERVER=example.org expect 2 "STELLA_SERVER 'example.org' is no address of a service (examples: /run/stella/stella.sock, https://scan.example.org)" scanner status
STELLA_STORE=postgresql://x/y expect 10 \
    "no service answers, and the store is not a local file (STELLA_STORE): start stella-api" scanner jobs list
echo "no database" >home/stella.db
rm -f home/stella.db-wal home/stella.db-shm
run scanner jobs list
ok "a damaged store: exit 1" test "$code" = 1
ok "a damaged store: what to do" grep -q 'is damaged .*mkdir damaged && mv ' err
