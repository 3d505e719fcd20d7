"""What the kafka-python scripts share: records that can be checked, and a verdict.

Each record's value names itself (run, partition, number) and carries filler that follows from its
name, so that a lost, doubled, reordered or changed record is told from a good one.
"""

import hashlib
import sys
import time
import traceback


def value(run, partition, number, size=100):
    """The one right value of a record."""
    name = f"{run}/{partition}/{number}"
    filler = hashlib.sha256(name.encode()).hexdigest()
    return f"{name}:{filler}".ljust(size, ".").encode()


def number_of(run, partition, data):
    """The number of a record, after proving that nothing in it changed."""
    number = int(data.split(b":", 1)[0].rsplit(b"/", 1)[1])
    expect(data == value(run, partition, number, len(data)), f"record {data[:60]!r} changed")
    return number


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def unique(name):
    """A topic or group name that no earlier run used."""
    return f"{name}-{time.time_ns() // 1000:x}"


def run(checks):
    """Runs the checks in order; prints one line each and a verdict; the exit code says it too."""
    failed = 0
    for check in checks:
        begun = time.monotonic()
        try:
            said = check()
            print(f"ok    {check.__name__} ({time.monotonic() - begun:.1f}s) {said or ''}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAIL  {check.__name__}: {type(error).__name__}: {error}", flush=True)
            traceback.print_exc()
    print(f"VERDICT {'PASS' if failed == 0 else f'FAIL ({failed} of {len(checks)})'}", flush=True)
    sys.exit(1 if failed else 0)


def address():
    if len(sys.argv) < 2:
        print(f"usage: {sys.argv[0]} HOST:PORT", file=sys.stderr)
        sys.exit(2)
    return sys.argv[1]
