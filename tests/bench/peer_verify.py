#!/usr/bin/env python3
"""Verdicts per second of the rules' executable reference in Python: peer_verify.py REFERENCE_FOLDER SAMPLE

SAMPLE has lines {"response", "ground_truth"}. Prints a line for each rule: name, verdicts per second of processor time,
responses found right. A verdict that takes longer than 5 s counts as wrong, as in the published training code."""
import contextlib
import io
import json
import signal
import sys
import time

folder, sample = sys.argv[1:3]
sys.path.insert(0, folder)
sys.argv = sys.argv[:1]
with contextlib.redirect_stdout(io.StringIO()):
    import proto_all


class Slow(Exception):
    pass


def alarm(*_):
    raise Slow


signal.signal(signal.SIGALRM, alarm)
rows = [json.loads(line) for line in open(sample, encoding='utf-8')]
for rule in 'dapo', 'dapo-minerva', 'polaris', 'deepscaler':
    right = 0
    start = time.process_time()
    for row in rows:
        signal.alarm(5)
        try:
            right += proto_all.run({'verifier': rule, **row})[0]
        except Slow:
            pass
        signal.alarm(0)
    print(rule, len(rows) / (time.process_time() - start), right)
