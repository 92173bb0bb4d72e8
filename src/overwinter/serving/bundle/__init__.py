"""The bundle: a folder with everything that a hibernated model needs to wake.

    bundle.json          sealed: what it is, digests of all other files, labels, preprocessing, lineage
    signature.json       a DSSE envelope around the digest of bundle.json, if it is signed
    canary.safetensors   inputs, and the answers that the model gave when it was put to sleep
    payload/             what the runtime loads, for instance model.onnx
    extras/              what else belongs to the model, such as its tokenizer; may be absent

Files are 0600. Nothing is pickle, and no file may be in the folder that bundle.json does not list. The folder can be
encrypted into one file (`seal_bundle`), which hides the names too.

- `facts` has the values, `writing` and `reading` the way to and from the disk, `contents` the files that are verified.
- `signing` and `sealing` tie the bundle to `overwinter.serving.sealing`; `keys` says whom to trust and what to expect.
- `obtaining` finds a bundle by its address: a folder, a sealed file, or a place in a store.
"""
