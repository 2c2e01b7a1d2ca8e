#!/bin/sh
# A local database that pacman made, against pacman -Q, -Qi and -Ql.
# shellcheck source=tests/truth/lib.sh
. "$(dirname "$0")/lib.sh"
need pacman zstd tar

# package NAME VERSION ARCH [.PKGINFO lines...]
package() {
    root="$dir/build/$1"
    mkdir -p "$root/usr/bin" "$root/usr/share/$1/empty" "$root/etc"
    echo x >"$root/usr/bin/$1"
    ln -s "$1" "$root/usr/bin/$1-link"
    echo x >"$root/usr/share/$1/with blank"
    echo x >"$root/etc/$1.conf"
    {
        printf 'pkgname = %s\npkgver = %s\narch = %s\nsize = 4096\npackager = Test <t@example.org>\n' "$1" "$2" "$3"
        name=$1
        shift 3
        for line; do echo "$line"; done
    } >"$root/.PKGINFO"
    (cd "$root" && tar -cf - .PKGINFO -- etc usr | zstd -q >"$dir/$name.pkg.tar.zst")
}

package one 1.0-1 x86_64 'license = GPL-2.0-or-later' 'license = custom:x' 'url = https://one.example/' 'pkgdesc = The first' \
    'provides = libone.so=1-64' 'provides = virtual' 'backup = etc/one.conf'
package two-lib 2:3.4.r5-6 any 'pkgbase = two' 'depend = one>=1.0' 'depend = virtual' 'optdepend = three: later'
mkdir -p "$dir/root/var/lib/pacman" "$dir/cache" "$dir/gnupg"
printf '[options]\nArchitecture = auto x86_64\nSigLevel = Never\nLocalFileSigLevel = Never\n' >"$dir/conf"
run() {
    pacman --config "$dir/conf" --root "$dir/root" --dbpath "$dir/root/var/lib/pacman" --cachedir "$dir/cache" \
        --gpgdir "$dir/gnupg" --logfile "$dir/log" --noconfirm "$@"
}
if ! run -U --noscriptlet "$dir/one.pkg.tar.zst" "$dir/two-lib.pkg.tar.zst" >"$dir/out" 2>&1; then
    sed 's/^/# /' "$dir/out"
    echo "1..0 # SKIP pacman cannot install here"
    exit 0
fi

for file in "$dir"/root/var/lib/pacman/local/*/desc "$dir"/root/var/lib/pacman/local/*/files; do
    "$catalog" --file "${file#"$dir/root/"}" "$file"
done >"$dir/records"
run -Q | sort >"$dir/want"
packages name version <"$dir/records" | tr '|' ' ' | sort >"$dir/got"
same "$dir/want" "$dir/got" "names and versions"

run -Qi | awk -F' *: ' '$1 == "Name" { n = $2 } $1 == "Architecture" { a = $2 } $1 == "Licenses" { l = $2 }
    $1 == "Depends On" { gsub(/[<>=][^ ]*/, "", $2); d = $2 }
    $1 == "Provides" { gsub(/[<>=][^ ]*/, "", $2); gsub(/  */, " ", $2); p = $2 }
    $1 == "Packager" { gsub(/  */, " ", l); gsub(/  */, " ", d); print n "|" a "|" l "|" d "|" p }' | sed 's/ *|/|/g; s/None//g; s/ *$//' | sort >"$dir/want"
awk 'function flush() { if (n) print n "|" a "|" l "|" d "|" p; n = a = l = d = p = "" }
    function add(s) { return s (s ? " " : "") $2 }
    /^package/ { flush() } $1 == "name" { n = $2 } $1 == "arch" { a = $2 } $1 == "license" { l = add(l) }
    $1 == "depends" { d = add(d) } $1 == "provides" { p = add(p) } END { flush() }' "$dir/records" | sort >"$dir/got"
same "$dir/want" "$dir/got" "architectures, licences, relations"

run -Ql | grep -v '/$' | sed "s|$dir/root/||" | sort >"$dir/want"
sed -n 's/^owns alpm //p' "$dir/records" | sort >"$dir/got"
same "$dir/want" "$dir/got" "owned files"
finish
