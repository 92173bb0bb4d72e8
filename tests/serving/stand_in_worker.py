"""A worker without a model: started through `serve.worker.launcher`, it does what the requests tell it to."""

import json
import os
import select
import signal
import struct
import sys
import time
from pathlib import Path

incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
note = Path(sys.argv[1])  # a file that counts what happened
signal.signal(signal.SIGINT, signal.SIG_IGN)


def send(header, body=b""):
    text = json.dumps(header).encode()
    outgoing.write(struct.pack(">IQ", len(text), len(body)) + text + body)
    outgoing.flush()


def jot(word):
    with note.open("a") as file:
        file.write(word + "\n")


def once(word):
    return word not in note.read_text().split()


def wake(header):
    jot("wake")
    if header["bundle"] == "altered":
        send({"status": "refused", "error": "the canary sings otherwise"})
    elif header["bundle"] == "crashes":
        os._exit(3)
    elif header["bundle"] == "slow" or (
        header["bundle"] == "slow_twice" and note.read_text().split().count("wake") < 3
    ):
        time.sleep(60)
    else:
        send({"status": "ready", "wake_s": 0.001, "steps_s": {"verify": 0.0005}})


def infer(body):
    words = body.decode().split()
    if "sleep" in words:
        time.sleep(float(words[-1]))
    if "write" in words and select.select([incoming], [], [], float(words[-1]))[0]:
        jot("cancelled")
    if "die" in words or ("die_once" in words and once("died")):
        jot("died")
        os._exit(9)
    if "stream" in words:
        stream(words)
    else:
        send({"status": 200, "headers": {}}, b"echo " + body)


def stream(words):
    """Say "part" as often as the last word tells; `break` and `die_late` end it in the middle."""
    for place in range(int(words[-1])):
        if select.select([incoming], [], [], 0)[0]:
            jot("cancelled")
            break
        send({"more": True} | ({} if place else {"status": 200, "headers": {}}), b"part")
        time.sleep(0.01)
    if "die_late" in words:
        os._exit(9)
    send({"broken": "break" in words})


jot("start")
while True:
    lengths = incoming.read(12)
    if not lengths:
        break
    header_bytes, body_bytes = struct.unpack(">IQ", lengths)
    header, body = json.loads(incoming.read(header_bytes)), incoming.read(body_bytes)
    if header["operation"] == "wake":
        wake(header)
    elif header["operation"] == "import":
        send({"status": "preforked"})
    elif header["operation"] == "keep":
        jot("keep")
        send({"status": "kept"})
    elif header["operation"] == "cancel":
        pass
    elif header["operation"] == "park":
        send({"status": "parked"})
    else:
        infer(body)
