"""Stands for the capturing process: does what a test has written down. `child.py ATTEMPTS.json WANTED`."""

import json
import os
import sys
import threading
import time
from pathlib import Path

from edge_runtime.capture import wire

RATE, FRAMES = 16_000, 512


def tell(message):
    os.write(1, wire.encode(message))


def attempt(file):
    """The steps of this attempt; every call is the next one."""
    made = file.with_suffix(".made")
    number = len(made.read_text()) if made.exists() else 0
    with made.open("a") as counted:
        counted.write(".")
    attempts = json.loads(file.read_text())
    return attempts[min(number, len(attempts) - 1)]


def end_with_the_listener():
    while os.read(0, 99):
        pass
    os._exit(0)


def main():
    threading.Thread(target=end_with_the_listener, daemon=True).start()
    lost = 0
    for step, *words in attempt(Path(sys.argv[1])):
        if step == "open":
            tell(wire.Opened("Scripted", RATE, 1, *words))
        elif step == "sound":
            began = time.monotonic()
            for block in range(round(words[0] * RATE / FRAMES)):
                time.sleep(max(0.0, began + (block + 1) * FRAMES / RATE - time.monotonic()))
                tell(wire.Sound(lost, FRAMES, time.monotonic(), bytes(4 * FRAMES)))
                lost = 0
        elif step == "lost":
            lost = words[0]
        elif step == "wait":
            time.sleep(words[0])
        elif step == "fail":
            tell(wire.Failed(words[0]))
        elif step == "garbage":
            os.write(1, b"Expression 'paInvalidSampleRate' failed\n" * 9)
        elif step == "hang":
            threading.Event().wait()
    os._exit(0)


main()
