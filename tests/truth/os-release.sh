#!/bin/sh
# os-release quoting against a shell that reads the same file.
# shellcheck source=tests/truth/lib.sh
. "$(dirname "$0")/lib.sh"

cat >"$dir/odd" <<'X'
# comment
ID='wol''fi'
NAME="a \"b\" \$c \`d\` \\ \n e"'f\g'
PRETTY_NAME=x\ y\
z\"
VERSION_ID="first"
VERSION_ID=2
  HOME_URL="http://x/#no-comment?a=b&c" # comment
ID_LIKE=
CPE_NAME=''
VARIANT_ID=a"b"'c'd
X
for file in "$dir/odd" /etc/os-release; do
    [ -e "$file" ] || continue
    # shellcheck disable=SC1090
    (
        unset ID VERSION_ID NAME PRETTY_NAME VERSION_CODENAME VARIANT_ID ID_LIKE CPE_NAME HOME_URL
        . "$file"
        for pair in "id=$ID" "version-id=$VERSION_ID" "name=$NAME" "pretty-name=$PRETTY_NAME" "version-codename=$VERSION_CODENAME" \
            "variant-id=$VARIANT_ID" "id-like=$ID_LIKE" "cpe-name=$CPE_NAME" "home-url=$HOME_URL"; do
            [ -n "${pair#*=}" ] && printf '  %s %s\n' "${pair%%=*}" "${pair#*=}"
        done
    ) >"$dir/want"
    "$catalog" --file etc/os-release "$file" | grep '^  ' >"$dir/got"
    same "$dir/want" "$dir/got" "$(basename "$file")"
done
finish
