#!/bin/sh
# dpkg's status file, file lists and states against dpkg-query.
# shellcheck source=tests/truth/lib.sh
. "$(dirname "$0")/lib.sh"
need dpkg-query dpkg

# compare ADMINDIR WHAT. A package counts when its files are in place.
compare() {
    # shellcheck disable=SC2016 # dpkg-query's own variables
    dpkg-query --admindir="$1" -W -f '${db:Status-Status}|${Package}|${Version}|${Architecture}|${source:Package}|${source:Version}|${Maintainer}|${Installed-Size}\n' |
        grep -Ev '^(not-installed|config-files|half-installed)\|' | cut -d'|' -f2- | sort >"$dir/want"
    # Without a Source field the binary's own name and version are the source's; without a version in it, its version is.
    "$catalog" --file var/lib/dpkg/status "$1/status" |
        sed 's/^  meta maintainer=/  maintainer /; s/^  meta installedSize=/  size /' |
        packages name version arch source source-version maintainer size |
        awk -F'|' -v OFS='|' '{ if ($4 == "") $4 = $1; if ($5 == "") $5 = $2; print }' | sort >"$dir/got"
    same "$dir/want" "$dir/got" "$2: packages"
}

compare /var/lib/dpkg "this machine"

# Every state that there is.
mkdir -p "$dir/db/info" "$dir/db/updates"
for state in not-installed config-files half-installed unpacked half-configured triggers-awaited triggers-pending installed; do
    for want in install hold deinstall purge; do
        printf 'Package: p-%s-%s\nDescription: x\nStatus: %s ok %s\nArchitecture: all\nMaintainer: m\nInstalled-Size: 1\nVersion: 1:2-3\n' $state $want $want $state
        case $state in
        config-files) echo 'Config-Version: 1:2-3' ;;
        triggers-awaited) echo 'Triggers-Awaited: x' ;;
        triggers-pending) echo 'Triggers-Pending: x' ;;
        esac
        echo
    done
done >"$dir/db/status"
compare "$dir/db" "states"

# Relations: what dpkg-query prints for the field, reduced to names by another hand.
# shellcheck disable=SC2016
dpkg-query -W -f '${Package}#${Pre-Depends},${Depends}\n' |
    perl -ne 'chomp; my ($n, $d) = split /#/, $_, 2;
        my @g = grep { length } map { join "|", grep { length } map { s/^\s+//r =~ s/[\s(:\[<].*//sr } split /\|/ } split /,/, $d;
        print "$n ", join(" ", @g), "\n"' | sort >"$dir/want"
"$catalog" --file var/lib/dpkg/status /var/lib/dpkg/status |
    awk '/^package/ { if (n) print n " " d; n = d = "" } $1 == "name" { n = $2 } $1 == "depends" { d = d (d ? " " : "") $2 }
         END { if (n) print n " " d }' | sort >"$dir/got"
same "$dir/want" "$dir/got" "relations"

# Owned files: each regular file that came in the archive has a checksum beside the list. (dpkg-query -L prints directories
# too, and follows diversions.)
# shellcheck disable=SC2016
dpkg-query -W -f '${binary:Package}\n' | awk 'NR % 9 == 1' | while read -r package; do
    name=${package%%:*}
    list=/var/lib/dpkg/info/$package.list
    [ -e "$list" ] || list=/var/lib/dpkg/info/$name.list
    "$catalog" --file "${list#/}" "$list" | sed -n 's/^owns deb //p' >>"$dir/owned"
    sed -n 's/^[0-9a-f]\{32\}  //p' "${list%.list}.md5sums" 2>/dev/null | sed "s|^|$name |" >>"$dir/sums"
done
sort -u "$dir/owned" >"$dir/owned.sorted"
sort -u "$dir/sums" >"$dir/sums.sorted"
comm -23 "$dir/sums.sorted" "$dir/owned.sorted" >"$dir/missing"
: >"$dir/none"
same "$dir/none" "$dir/missing" "every file with a checksum in $(wc -l <"$dir/sums.sorted") is owned"

# And the way back: who owns a file, asked of dpkg -S (a sample; several owners are one line).
awk 'NR % 97 == 0' "$dir/owned.sorted" | head -60 >"$dir/sample"
while read -r name path; do
    [ -d "/$path" ] && continue
    dpkg -S "/$path" 2>/dev/null | sed 's/: .*//' | tr -d ' ' | tr ',' '\n' | sed 's/:.*//' | grep -qx -- "$name" || echo "$name $path"
done <"$dir/sample" >"$dir/missing"
same "$dir/none" "$dir/missing" "dpkg -S agrees on a sample"
finish
