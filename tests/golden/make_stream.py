#!/usr/bin/python3
# Makes tests/golden/stream: streams that must be read (good/) and streams that must be refused (bad/), by an
# independent writer: Python's msgpack and the zstd program. Made with Debian 12's python3-msgpack 1.0.3 and zstd 1.5.4.
# These files are kept for ever; a new version of the format adds files.
#   good/NAME.jrl with good/NAME.jsonl, what `jrl-view --header` prints
#   bad/NAME.jrl  with a line in bad/messages: NAME, tab, a regular expression for the message
import os, struct, subprocess, sys
import msgpack

MASK = (1 << 64) - 1
P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def rotate(x, r):
    return ((x << r) | (x >> (64 - r))) & MASK


def mix(acc, lane):
    return rotate((acc + lane * P2) & MASK, 31) * P1 & MASK


def xxh64(data):
    """XXH64 with seed 0, from its specification."""
    i, n = 0, len(data)
    if n >= 32:
        v = [(P1 + P2) & MASK, P2, 0, -P1 & MASK]
        while i + 32 <= n:
            for k in range(4):
                v[k] = mix(v[k], struct.unpack_from('<Q', data, i + 8 * k)[0])
            i += 32
        h = sum(rotate(x, r) for x, r in zip(v, (1, 7, 12, 18))) & MASK
        for x in v:
            h = ((h ^ mix(0, x)) * P1 + P4) & MASK
    else:
        h = P5
    h = (h + n) & MASK
    while i + 8 <= n:
        h = (rotate(h ^ mix(0, struct.unpack_from('<Q', data, i)[0]), 27) * P1 + P4) & MASK
        i += 8
    if i + 4 <= n:
        h = (rotate(h ^ (struct.unpack_from('<I', data, i)[0] * P1 & MASK), 23) * P2 + P3) & MASK
        i += 4
    while i < n:
        h = rotate(h ^ (data[i] * P5 & MASK), 11) * P1 & MASK
        i += 1
    h = (h ^ h >> 33) * P2 & MASK
    h = (h ^ h >> 29) * P3 & MASK
    return h ^ h >> 32


def pack(x):
    return msgpack.packb(x, use_bin_type=True, unicode_errors='surrogateescape')


def raw_map(*pairs):
    """A map of packed keys and values as they are given."""
    return bytes([0x80 | len(pairs)]) + b''.join(k + v for k, v in pairs)


def ext(code, fmt, *numbers):
    return msgpack.ExtType(code, struct.pack('<%d%s' % (len(numbers), fmt), *numbers))


def header(**changes):
    h = {'jrl': 'header', 'format': 'jrl-stream', 'version': [1, 0], 'kind': 'problem', 'requires': [], 'prog': []}
    h.update(changes)
    return pack({k: v for k, v in h.items() if v is not None})


def batch(k, n):
    return pack({'jrl': 'batch', 'k': k, 'records': n})


def end(n, body):
    return pack({'jrl': 'end', 'records': n, 'xxh64': xxh64(body)})


def segment(*records, head=None, n=None):
    """Records are packed; boundaries, too, and not counted."""
    body = (header() if head is None else head) + b''.join(records)
    count = sum(1 for r in records if b'\xa3jrl\xa5batch' not in r[:12]) if n is None else n
    return body + end(count, body)


def zstd(data, *options):
    return subprocess.run(['zstd', '-qc', '--check', *options], input=data, stdout=subprocess.PIPE, check=True).stdout


A = pack({'a': 1})
VALUES = [
    ('nil', b'\xc0', 'null'), ('yes', b'\xc3', 'true'), ('no', b'\xc2', 'false'),
    ('zero', b'\x00', '0'), ('small', b'\x7f', '127'), ('u8', b'\xcc\xff', '255'), ('u16', b'\xcd\xff\xff', '65535'),
    ('u32', b'\xce\xff\xff\xff\xff', '4294967295'), ('u64', b'\xcf' + b'\xff' * 8, '18446744073709551615'),
    ('minus', b'\xff', '-1'), ('i8', b'\xd0\x80', '-128'), ('i16', b'\xd1\x80\x00', '-32768'),
    ('i32', b'\xd2\x80\x00\x00\x00', '-2147483648'), ('i64', b'\xd3\x80' + b'\x00' * 7, '-9223372036854775808'),
    ('wide one', b'\xd3' + b'\x00' * 7 + b'\x01', '1'),
    ('half', struct.pack('>Bd', 0xcb, 0.5), '0.5'), ('tenth', struct.pack('>Bd', 0xcb, 0.1), '0.1'),
    ('one', struct.pack('>Bd', 0xcb, 1.0), '1.0'), ('big', struct.pack('>Bd', 0xcb, 1e300), '1e+300'),
    ('-0', struct.pack('>Bd', 0xcb, -0.0), '-0.0'), ('tiny', b'\xcb' + b'\x00' * 7 + b'\x01', '5e-324'),
    ('nan', b'\xcb\x7f\xf8' + b'\x00' * 6, '{"$num":"NaN"}'), ('inf', b'\xcb\x7f\xf0' + b'\x00' * 6, '{"$num":"Infinity"}'),
    ('-inf', b'\xcb\xff\xf0' + b'\x00' * 6, '{"$num":"-Infinity"}'),
    ('odd nan', b'\xcb\xff\xf8' + b'\x00' * 5 + b'\x07', '{"$num":"NaN:fff8000000000007"}'),
    ('f32', b'\xca\x3d\xcc\xcc\xcd', '{"$f32":0.1}'), ('f32 nan', b'\xca\x7f\xc0\x00\x00', '{"$f32":"NaN"}'),
    ('signalling', b'\xca\x7f\x80\x00\x01', '{"$f32":"NaN:7f800001"}'),
    ('empty', b'\xa0', '""'), ('text', pack('h\u00e9 "x" \\ \n\t\x00 \U0001F600'), '"h\u00e9 \\"x\\" \\\\ \\n\\t\\u0000 \U0001F600"'),
    ('long', b'\xdb\x00\x00\x00\x02ab', '"ab"'), ('cut', b'\xa2a\xc3', '{"$str":"YcM="}'), ('bin', b'\xc4\x03\x00\x01\xff', '{"$bin":"AAH/"}'),
    ('list', b'\x93\x01\x90\x80', '[1,[],{}]'), ('map', b'\x82\xa1b\x01\xa1a\x91\xc0', '{"b":1,"a":[null]}'),
    ('$tag', b'\x81\xa4$f32\x90', '{"$$f32":[]}'), ('$$', b'\x01', '1'),
    ('bytes', pack(ext(1, 'B', 0, 255)), '{"$u8":[0,255]}'), ('ints', pack(ext(2, 'i', -1, 2**31 - 1)), '{"$i32":[-1,2147483647]}'),
    ('tokens', pack(ext(3, 'I', 0, 2**32 - 1)), '{"$u32":[0,4294967295]}'),
    ('longs', pack(ext(4, 'q', -2**63, 2**63 - 1)), '{"$i64":[-9223372036854775808,9223372036854775807]}'),
    ('logprobs', pack(ext(5, 'f', -0.5, float('inf'), float('nan'), 0.1)), '{"$f32":[-0.5,"Infinity","NaN",0.1]}'),
    ('doubles', pack(ext(6, 'd', -0.0, 1e-300)), '{"$f64":[-0.0,1e-300]}'), ('none', b'\xc7\x00\x05', '{"$f32":[]}'),
    ('other', b'\xd4\xfe\x07', '{"$ext":[-2,"Bw=="]}'), ('far', b'\xc8\x00\x01\x64x', '{"$ext":[100,"eA=="]}'),
]
HEADER_TEXT = '{"jrl":"header","format":"jrl-stream","version":[1,0],"kind":"problem","requires":[],"prog":[]}\n'


def values_segment():
    records, lines = [], [HEADER_TEXT]
    for i in range(0, len(VALUES), 8):
        some = VALUES[i:i + 8]
        records.append(raw_map(*[(pack(k), v) for k, v, _ in some]))
        lines.append('{' + ','.join('"%s":%s' % ('$' + k if k[0] == '$' else k, t) for k, _, t in some) + '}\n')
    records.append(b'\x81\xa2\xff$\x01')  # a key that is not UTF-8
    lines.append('{"$str:/yQ=":1}\n')
    return segment(*records), ''.join(lines)


def good():
    values, values_text = values_segment()
    yield 'minimal', segment(A), HEADER_TEXT + '{"a":1}\n'
    yield 'no-records', zstd(segment()), HEADER_TEXT
    yield 'values', zstd(values), values_text
    yield 'values-plain', values, values_text
    yield 'joined', zstd(segment(A)) + segment(A) + segment() + zstd(segment(A)), (HEADER_TEXT + '{"a":1}\n') * 2 + HEADER_TEXT + HEADER_TEXT + '{"a":1}\n'
    batched = segment(A, A, batch(1, 2), batch(2, 0), A, batch(7, 1))
    text = (HEADER_TEXT + '{"a":1}\n{"a":1}\n{"jrl":"batch","k":1,"records":2}\n{"jrl":"batch","k":2,"records":0}\n{"a":1}\n'
            '{"jrl":"batch","k":7,"records":1}\n')
    yield 'batched', zstd(batched), text
    skippable = b'\x5e\x2a\x4d\x18\x03\x00\x00\x00abc'
    yield 'frames', skippable + b''.join(zstd(batched[i:i + 13]) for i in range(0, len(batched), 13)) + zstd(b'') + skippable, text
    newer = header(version=[1, 7], colour='blue')
    yield 'newer-minor', segment(A, head=newer), HEADER_TEXT.replace('[1,0]', '[1,7]').replace('"prog":[]', '"prog":[],"colour":"blue"') + '{"a":1}\n'
    deep = b'\x81\xa1d' + b'\x91' * 63 + b'\x01'
    yield 'deep', zstd(segment(deep)), HEADER_TEXT + '{"d":' + '[' * 63 + '1' + ']' * 63 + '}\n'
    many = pack({'k%d' % i: i for i in range(1024)})
    yield 'many-keys', zstd(segment(many)), HEADER_TEXT + '{' + ','.join('"k%d":%d' % (i, i) for i in range(1024)) + '}\n'
    wide = b'\xdf\x00\x00\x00\x01\xdb\x00\x00\x00\x01a\xdd\x00\x00\x00\x01\xcf' + b'\x00' * 7 + b'\x05'
    yield 'wide', segment(wide), HEADER_TEXT + '{"a":[5]}\n'


def bad():
    whole = zstd(segment(A, A))
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    body = header() + A
    yield 'empty', b'', 'is empty'
    yield 'text', b'nothing of ours\n', 'looks like text'
    yield 'json', b'{"a": 1}\n', 'looks like JSON'
    yield 'gzip', b'\x1f\x8b\x08\x00\x00\x00\x00\x00', 'looks like a gzip file'
    yield 'parquet', b'PAR1\x15\x04\x15', 'looks like a Parquet file'
    yield 'safetensors', b'\x10\x00\x00\x00\x00\x00\x00\x00{"a":{}}        ', 'looks like a safetensors file'
    yield 'zstd-text', zstd(b'nothing of ours\n'), 'looks like zstd around text'
    yield 'other-msgpack', pack({'a': 1}), 'not a jrl stream'
    yield 'no-header', A + end(1, A), 'no header'
    yield 'no-end', body, 'cut: record 1 is the last good one'
    yield 'no-end-zstd', zstd(body), 'cut: record 1 is the last good one'
    yield 'no-records-no-end', header(), 'cut before its first record'
    yield 'checksum-of-frame', bytes(flipped), 'damaged: .*record 0 is the last good one'
    yield 'frame-checksum-missing', whole[:-4], 'cut: record 2 is the last good one'
    yield 'wrong-count', segment(A, n=2), 'counts 2 records, but 1 came'
    yield 'wrong-hash', body + pack({'jrl': 'end', 'records': 1, 'xxh64': 1}), 'checksum of records 1 to 1 is wrong'
    yield 'no-hash', body + pack({'jrl': 'end', 'records': 1}), "field 'xxh64' is missing"
    yield 'batch-count', segment(A, batch(1, 2)), 'boundary behind record 1 counts 2 records, but 1 came'
    yield 'batch-order', segment(A, batch(2, 1), A, batch(2, 1)), 'batch 2 behind batch 2'
    yield 'batch-zero', segment(A, batch(0, 1)), 'batch 0 behind batch 0'
    yield 'batch-without-k', segment(A, pack({'jrl': 'batch', 'records': 1}), n=1), "field 'k' is missing"
    yield 'behind-last-batch', segment(A, batch(1, 1), A), 'records behind batch 1 belong to no batch'
    yield 'header-twice', body + header() + end(1, body + header()), 'a header follows record 1'
    yield 'behind-end', segment(A) + A, 'no header behind record 1'
    yield 'garbage-behind-end', zstd(segment(A)) + b'garbage', 'not|no header'
    yield 'zeros-behind-end', zstd(segment(A)) + bytes(10), 'not|no header'
    yield 'unknown-control', segment(A, pack({'jrl': 'colour'})), 'unknown control record'
    yield 'control-not-text', segment(pack({'jrl': 7})), 'unknown control record'
    yield 'jrl-not-first', segment(pack({'a': 1, 'jrl': 'end'})), "the key 'jrl' belongs"
    yield 'newer-major', segment(A, head=header(version=[2, 0])), 'version 2.0'
    yield 'requires', segment(A, head=header(requires=['colour'])), "requires 'colour'"
    yield 'no-version', segment(A, head=header(version=None)), 'no version'
    yield 'other-format', segment(A, head=header(format='csv')), "not 'jrl-stream'"
    yield 'no-kind', segment(A, head=header(kind=None)), 'no kind'
    yield 'no-prog', segment(A, head=header(prog=None)), "no list 'prog'"
    yield 'key-int', segment(b'\x81\x01\x02'), 'record 1: a key is not a string'
    yield 'key-int-inside', segment(b'\x81\xa1a\x81\x01\x02'), 'record 1: a key is not a string'
    yield 'key-twice', segment(A, b'\x82\xa1a\x01\xa1a\x02'), "record 2: field 'a' stands twice"
    yield 'keys-1025', segment(pack({'k%d' % i: i for i in range(1025)})), 'more than 1024 keys'
    yield 'deep-65', segment(b'\x81\xa1d' + b'\x91' * 64 + b'\x01'), 'deeper than 64 levels'
    yield 'not-a-map', segment(b'\x91\x01'), 'record 1: not a map but a list'
    yield 'byte-c1', segment(b'\x81\xa1a\xc1'), 'record 1: not msgpack: byte 0xc1'
    yield 'map-4g', header() + b'\xdf\xff\xff\xff\xff', 'record 1: longer than the limit'
    yield 'list-4g', header() + b'\x81\xa1a\xdd\xff\xff\xff\xff', 'record 1: longer than the limit'
    yield 'str-4g', header() + b'\x81\xa1a\xdb\xff\xff\xff\xff', 'record 1: longer than the limit'
    yield 'bin-4g', zstd(header() + b'\x81\xa1a\xc6\xff\xff\xff\xff'), 'record 1: longer than the limit'
    yield 'ext-4g', header() + b'\x81\xa1a\xc9\xff\xff\xff\xff\x05', 'record 1: longer than the limit'
    yield 'str-200m', header() + b'\x81\xa1a\xdb\x0b\xff\xff\xff', 'cut before its first record'
    yield 'ext-odd', segment(b'\x81\xa1a\xc7\x03\x05abc'), 'elements of 4 bytes'
    yield 'window-128m', zstd(segment(A), '--ultra', '--long=27'), 'window above 8 MiB'


def write(folder, files, column):
    os.makedirs(folder, exist_ok=True)
    for name, data, said in files:
        with open(os.path.join(folder, name + '.jrl'), 'wb') as f:
            f.write(data)
        column(folder, name, said)


def main():
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'stream')
    assert xxh64(b'') == 0xef46db3751d8e999

    def text_file(folder, name, said):
        with open(os.path.join(folder, name + '.jsonl'), 'w') as f:
            f.write(said)

    messages = []
    write(os.path.join(top, 'good'), good(), text_file)
    write(os.path.join(top, 'bad'), bad(), lambda folder, name, said: messages.append('%s\t%s\n' % (name, said)))
    with open(os.path.join(top, 'bad', 'messages'), 'w') as f:
        f.writelines(messages)


if __name__ == '__main__':
    sys.exit(main())
