#!/bin/sh
# Licence names of the machine-readable copyright files on this machine against python-debian.
# shellcheck source=tests/truth/lib.sh
. "$(dirname "$0")/lib.sh"
python=/usr/bin/python3 # the one that has Debian's modules
need "$python"
"$python" -c 'import debian.copyright' 2>/dev/null || {
    echo "1..0 # SKIP no python3-debian"
    exit 0
}

cat >"$dir/oracle.py" <<'X'
import sys, logging
from debian.deb822 import Deb822
logging.disable(logging.CRITICAL)
for path in sys.stdin.read().split():
    with open(path, "rb") as f:
        data = f.read()
    try:
        paragraphs = list(Deb822.iter_paragraphs(data, encoding="utf-8"))
    except (UnicodeDecodeError, ValueError):
        continue
    if not paragraphs or not ("Format" in paragraphs[0] or "Format-Specification" in paragraphs[0]):
        continue
    seen = []
    for p in paragraphs:
        name = p.get("License", "").split("\n")[0].strip()
        if name and name.lower() != "none" and name not in seen:
            seen.append(name)
    for name in seen:
        print(path, name)
X
# Files that are no UTF-8 are not compared.
find /usr/share/doc -mindepth 2 -maxdepth 2 -name copyright -type f -not -path '* *' | sort |
    "$python" "$dir/oracle.py" >"$dir/want"
cut -d' ' -f1 "$dir/want" | uniq | while read -r file; do
    "$catalog" --file "${file#/}" "$file" | sed -n "s|^note deb [^ ]* license=|$file |p"
done >"$dir/got"
same "$dir/want" "$dir/got" "licences"
finish
