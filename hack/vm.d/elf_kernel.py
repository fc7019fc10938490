#!/usr/bin/env python3
"""elf_kernel.py BZIMAGE ELF: unpacks the kernel in a bzImage.

QEMU enters an ELF kernel directly, by its PVH note; unpacking a bzImage inside an emulated
machine takes seconds at each boot. The fields are those of the kernel's Documentation/arch/x86/boot.rst.
"""

import struct
import subprocess
import sys

SETUP_SECTORS, PAYLOAD_OFFSET, PAYLOAD_LENGTH = 0x1F1, 0x248, 0x24C
UNPACKERS = {
    b"\x1f\x8b": ["gzip", "-dc"],
    b"\xfd7zXZ": ["xz", "-dc"],
    b"\x28\xb5\x2f\xfd": ["zstd", "-dcq"],
    b"\x02\x21\x4c\x18": ["lz4", "-dc"],
}


def main():
    source, target = sys.argv[1:]
    with open(source, "rb") as file:
        image = file.read()
    offset, length = struct.unpack_from("<II", image, PAYLOAD_OFFSET)
    start = (image[SETUP_SECTORS] + 1) * 512 + offset
    # The last four bytes are the unpacked size, which is no part of the compressed stream.
    payload = image[start:start + length - 4]
    unpacker = next((command for magic, command in UNPACKERS.items() if payload.startswith(magic)), None)
    if unpacker is None:
        sys.exit(f"{source}: its payload is packed in no way known here: {payload[:6].hex()}")
    with open(target, "wb") as file:
        subprocess.run(unpacker, input=payload, stdout=file, check=True)


if __name__ == "__main__":
    main()
