"""TAP for tests in Python; what tap.h is for those in C."""
import re
import sys

LINES = 100  # of a reason
count = failed = 0


def ok(good, what, why=""):
    global count, failed
    count += 1
    failed += not good
    what = re.sub(r"[^ -~]|#", "?", what)
    print(f"{'ok' if good else 'not ok'} {count} - {what}", flush=True)
    for line in str(why).splitlines()[:LINES] if not good else []:
        print("#", line, flush=True)
    return good


def skip(what, why):
    global count
    count += 1
    print(f"ok {count} - {what} # SKIP {why}", flush=True)


def skip_all(why):
    print("1..0 # SKIP", why)
    sys.exit(0)


def done():
    print(f"1..{count}")
    sys.exit(failed > 0)
