"""TAP for the scripts in this directory."""
import sys

count = failed = 0


def ok(good, what, why=''):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {what}", flush=True)
    for line in why.splitlines()[:12] if not good else []:
        print('#', line)
    return good


def skip(what, why):
    global count
    count += 1
    print(f'ok {count} - {what} # SKIP {why}', flush=True)


def skip_all(why):
    print('1..0 # SKIP', why)
    sys.exit(0)


def done():
    print(f'1..{count}')
    sys.exit(failed > 0)
