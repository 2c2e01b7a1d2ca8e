# Usage errors: exit 2, one line on standard error that names the remedy, nothing on standard output.
# shellcheck shell=bash  # run by tests/cli/run
expect 2 "no command given (stella --help lists them)"
expect 2 "unknown command 'scna'; did you mean scan?" scna
expect 2 "unknown command 'scanner jbos'; did you mean scanner jobs?" scanner jbos list
expect 2 "unknown command 'scan app.tar'; did you mean scan image app.tar?" scan app.tar
expect 2 "'scanner deadletter' is not a whole command (scanner deadletter list, scanner deadletter retry)" scanner deadletter
expect 2 "unknown option '--verison' (stella --help)" --verison
expect 2 "unknown option '--fromat'; did you mean --format?" scan image x --fromat json
expect 2 "no image given (example: stella scan image ./app.tar)" scan image
expect 2 "no image given (example: stella image layers ./app.tar)" image layers
expect 2 "--image a and the argument b are different images" scan image --image a b
expect 2 "unexpected argument 'b' (stella scan image --help)" scan image a b
expect 2 "invalid quantity '8 gigs' for --memory (examples: 64Mi, 1Gi, 2147483648)" scan image a --memory '8 gigs'
expect 2 "quantity '8Mi' for --memory is below the least accepted, 16Mi" scan image a --memory 8Mi
expect 2 "duration '4000d' for --timeout is longer than 10 years" scan image a --timeout 4000d
expect 2 "unknown value 'xml' for --format (one of table, cyclonedx-json, spdx-json, syft-json, purls)" scan image a --format xml
expect 2 "--verify needs a value (one of none, blob, full)" scan image a --verify
expect 2 "invalid number '0' for --threads (1 to 256)" scan image a --threads 0
expect 2 "invalid platform 'linux' (examples: linux/amd64, linux/arm/v7)" scan image a --platform linux
expect 2 "--force goes with --retry" scan image a --force
expect 2 "--retry cannot read standard input again: give it as a file" scan image - --retry
expect 2 "two formats for one output: spdx-json and cyclonedx-json (-o FORMAT=FILE writes several)" \
    scan image a --format spdx --output cdx
expect 2 "two outputs go to x.json" scan image a -o cdx=x.json -o spdx=x.json
expect 2 "unknown format 'xml' for -o FORMAT=FILE (one of table, cyclonedx-json, spdx-json, syft-json, purls)" \
    scan image a -o xml=f
expect 2 "no file in '-o cdx='" scan image a -o cdx=
expect 2 "unknown command 'nonsense' (stella --help lists them)" help nonsense
expect 2 'unknown command '"'"'a\x1b[31m\x0ab'"'"' (stella --help lists them)' $'a\e[31m\nb'
STELLA_MEMORY=lots expect 2 "invalid quantity 'lots' for STELLA_MEMORY (examples: 64Mi, 1Gi, 2147483648)" scan image a
STELLA_OFFLINE=maybe expect 2 "unknown value 'maybe' for STELLA_OFFLINE (1 or 0)" scan image a
expect 2 "empty image name" scan image ""

# A FIFO that nobody writes to is waited for no longer than --timeout, and one that is written to late is read.
mkfifo never late
expect 1 "nobody wrote to the pipe never within --timeout" scan image --local --quiet docker-archive:never --timeout 1s
{ sleep 0.5; head -c 600 /dev/zero | tr '\0' x; } >late &
expect 2 "the archive is neither a tar archive nor a compressed one" scan image --local --quiet docker-archive:late --timeout 20s
