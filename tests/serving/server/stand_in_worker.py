"""A worker without a model: started through `serve.worker.launcher`, it does what the requests tell it to."""

import json
import os
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
    else:
        send({"status": "ready", "wake_s": 0.001})


def infer(body):
    words = body.decode().split()
    if "sleep" in words:
        time.sleep(float(words[-1]))
    if "die" in words or ("die_once" in words and once("died")):
        jot("died")
        os._exit(9)
    send({"status": 200, "headers": {}}, b"echo " + body)


jot("start")
send({"status": "preforked", "import_s": 0})
while True:
    lengths = incoming.read(12)
    if not lengths:
        break
    header_bytes, body_bytes = struct.unpack(">IQ", lengths)
    header, body = json.loads(incoming.read(header_bytes)), incoming.read(body_bytes)
    if header["operation"] == "wake":
        wake(header)
    elif header["operation"] == "park":
        send({"status": "parked"})
    else:
        infer(body)
