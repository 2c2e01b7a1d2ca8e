#!/bin/sh
# Compares the rpm cataloger with rpm itself, package for package and file for file.
#   tests/truth/rpm.sh RUN_GOLDEN_CATALOG DATABASE...
# A DATABASE is a Packages, Packages.db or rpmdb.sqlite. Debian's rpm reads Berkeley DB and SQLite; an ndb file is compared with
# the database given as NDB_TWIN in the environment (one with the same headers). Exit 1 on any difference,
# 77 (skipped) without rpm unless MUST_WORK=1.
# Real ones of CentOS 5 to 8 are in pkg/testdata of the Go module github.com/knqyf263/go-rpmdb (go mod download).
set -eu
if ! command -v rpm >/dev/null; then
	[ "${MUST_WORK:-0}" = 1 ] && exit 1
	exit 77
fi
run=$1
shift
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

query() { # query DATABASE FORMAT
	rm -rf "$tmp/db"
	mkdir "$tmp/db"
	backend=sqlite
	name=rpmdb.sqlite
	case $(head -c 6 "$1") in SQLite) ;; *) backend=bdb_ro name=Packages ;; esac
	cp "$1" "$tmp/db/$name"
	rpm -qa --dbpath "$tmp/db" --define "_db_backend $backend" --qf "$2" 2>>"$tmp/rpm.err"
}

compare() { # compare DATABASE WHAT WANT GOT
	if diff -u "$3" "$4" >"$tmp/diff"; then
		echo "ok - $1: $(wc -l <"$3") $2"
	else
		echo "not ok - $1: $2 differ"
		head -20 "$tmp/diff"
		failed=1
	fi
}

for db; do
	twin=$db
	case $(head -c 4 "$db") in RpmP) twin=${NDB_TWIN:?names a database with the headers of $db} ;; esac
	"$run" --file var/lib/rpm/Packages "$db" >"$tmp/out"
	query "$twin" '%{NAME} %{EPOCH} %{VERSION}-%{RELEASE} %{ARCH} %{SOURCERPM} %{SIZE}|%{LICENSE}|%{VENDOR}|%{MODULARITYLABEL}\n' |
		grep -v '^gpg-pubkey ' | LC_ALL=C sort >"$tmp/want"
	awk 'function put() { if (n != "") print n, e, v, a, s, z "|" l "|" w "|" m }
		/^[a-z]/ { put(); n = ""; if ($1 == "package") { n = e = v = a = s = z = l = w = m = "(none)" } }
		/^  (name|epoch|version|arch|source|license|qual|meta) / {
			k = $1; x = $0; sub(/^  [a-z]+ /, "", x)
			if (k == "name") n = x
			else if (k == "epoch") e = x
			else if (k == "version") v = x
			else if (k == "arch") a = x
			else if (k == "source") s = x
			else if (k == "license") l = x
			else if (x ~ /^size=/) z = substr(x, 6)
			else if (x ~ /^vendor=/) w = substr(x, 8)
			else if (x ~ /^rpmmod=/) m = substr(x, 8)
		}
		END { put() }' "$tmp/out" | LC_ALL=C sort >"$tmp/got"
	compare "$db" packages "$tmp/want" "$tmp/got"
	query "$twin" '[%{=NAME} %{FILEMODES:perms} %{FILESTATES:fstate} %{FILENAMES}\n]' |
		awk '$2 !~ /^d/ && $3 == "normal" { n = $1; sub(/^[^ ]+ [^ ]+ [^ ]+ \//, ""); print n, $0 }' | LC_ALL=C sort >"$tmp/want"
	sed -n 's/^owns rpm //p' "$tmp/out" | LC_ALL=C sort >"$tmp/got"
	compare "$db" files "$tmp/want" "$tmp/got"
	# A boolean dependency becomes names: packages that have one are left out here (the golden cases have them).
	query "$twin" '[%{=NAME} %{REQUIRENAME}\n]' | grep -v '^gpg-pubkey ' | LC_ALL=C sort -u >"$tmp/all" || true
	awk '$2 ~ /^\(/ { print $1 }' "$tmp/all" >"$tmp/rich"
	awk 'FILENAME ~ /rich$/ { rich[$1]; next } !($1 in rich) && $2 !~ /^rpmlib\(/' "$tmp/rich" "$tmp/all" >"$tmp/want"
	awk '/^[a-z]/ { n = "" } /^  name / { n = $2 } /^  depends / { sub(/^  depends /, ""); print n, $0 }' "$tmp/out" |
		LC_ALL=C sort -u | awk 'FILENAME != "-" { rich[$1]; next } !($1 in rich)' "$tmp/rich" - >"$tmp/got"
	compare "$db" requires "$tmp/want" "$tmp/got"
	grep -E '^(unknown|result)' "$tmp/out" | grep -v '^result ok$' && failed=1
done
exit $failed
