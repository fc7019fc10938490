"""Protocol Buffers' wire format, as much as a small client of containerd's CRI needs.

A message to send is a dict of field numbers; text, bytes, numbers, dicts (messages) and lists
(repeated) are told apart by their types. A message that came is a dict of lists: numbers, or bytes
that `decode` reads further where they are messages.
"""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(number):
    number &= (1 << 64) - 1  # a negative one has ten bytes
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(message):
    return b"".join(field(number, value) for number, value in message.items())


def field(number, value):
    if isinstance(value, list):
        return b"".join(field(number, one) for one in value)
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    content = encode(value) if isinstance(value, dict) else value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at


def decode(data):
    found, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = read_varint(data, at)
        else:
            size = {FIXED64: 8, FIXED32: 4}.get(kind)
            if size is None:
                size, at = read_varint(data, at)
            value, at = data[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found
