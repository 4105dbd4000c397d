#!/usr/bin/env python3
"""Checks sealing.json with a second implementation: Python's standard library and nothing else.

It shares no code with the Rust crates: BLAKE3, ChaCha20-Poly1305, ristretto255 and Ed25519 are written out below from
their specifications. Slow and not in constant time: for checking vectors, never for keys.

    python3 engine/tests/vectors/check.py
"""

import hashlib
import json
import math
import pathlib
from itertools import combinations

# --- ristretto255 (RFC 9496) over edwards25519 (RFC 8032), extended coordinates ---

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1, 1, 0)


def negative(x):
    return x % P & 1


def absolute(x):
    return -x % P if negative(x) else x % P


def sqrt_ratio(u, v):
    """Whether u / v is a square, and the non-negative root of it or of SQRT_M1 * u / v."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    u %= P
    correct, flipped, flipped_i = check == u, check == -u % P, check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return correct or flipped, absolute(r)


# The odd root, as the RFC has it; INVSQRT_A_MINUS_D is the even one.
SQRT_AD_MINUS_ONE = -sqrt_ratio(-D - 1, 1)[1] % P
INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(k, p):
    sum_ = IDENTITY
    for bit in bin(k % L)[2:]:
        sum_ = add(sum_, sum_)
        if bit == "1":
            sum_ = add(sum_, p)
    return sum_


def total(points):
    sum_ = IDENTITY
    for point in points:
        sum_ = add(sum_, point)
    return sum_


def decode(data):
    """The point, or None for what is not canonical and for the identity."""
    s = int.from_bytes(data, "little")
    if s >= P or negative(s) or s == 0:
        return None
    ss = s * s % P
    u1, u2 = (1 - ss) % P, (1 + ss) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    square, inv = sqrt_ratio(1, v * u2 * u2)
    den_x = inv * u2 % P
    den_y = inv * den_x * v % P
    x, y = absolute(2 * s * den_x), u1 * den_y % P
    if not square or negative(x * y) or y == 0:
        return None
    return x, y, 1, x * y % P


def encode(p):
    x0, y0, z0, t0 = p
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    _, inv = sqrt_ratio(1, u1 * u2 * u2)
    den1, den2 = inv * u1 % P, inv * u2 % P
    z_inv = den1 * den2 * t0 % P
    x, y, den_inv = x0, y0, den2
    if negative(t0 * z_inv):
        x, y, den_inv = y0 * SQRT_M1 % P, x0 * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    if negative(x * z_inv):
        y = -y
    return absolute(den_inv * (z0 - y)).to_bytes(32, "little")


def map_to_point(data):
    t = (int.from_bytes(data, "little") & (2**255 - 1)) % P
    r = SQRT_M1 * t * t % P
    u, v = (r + 1) * (1 - D * D) % P, (-1 - r * D) * (r + D) % P
    square, s = sqrt_ratio(u, v)
    c = -1
    if not square:
        s, c = -absolute(s * t) % P, r
    n = (c * (r - 1) * pow(D - 1, 2, P) - v) % P
    w0, w1, w2, w3 = 2 * s * v, n * SQRT_AD_MINUS_ONE, 1 - s * s, 1 + s * s
    return w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P


def base_point():
    y = 4 * pow(5, -1, P) % P
    x = sqrt_ratio(y * y - 1, D * y * y + 1)[1]
    return x, y, 1, x * y % P


# --- BLAKE3, in its key derivation mode and as a plain hash ---

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT, KDF_CONTEXT, KDF_MATERIAL = 1, 2, 4, 8, 32, 64
MASK = 2**32 - 1


def words(data):
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def compress(cv, block, block_len, counter, flags):
    v = list(cv) + list(IV[:4]) + [counter & MASK, counter >> 32, block_len, flags]
    m = words(block.ljust(64, b"\0"))
    for _ in range(7):
        for index, (a, b, c, d) in enumerate(COLUMNS + DIAGONALS):
            for word, turn_d, turn_b in ((m[2 * index], 16, 12), (m[2 * index + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & MASK
                v[d] ^= v[a]
                v[d] = (v[d] >> turn_d | v[d] << 32 - turn_d) & MASK
                v[c] = (v[c] + v[d]) & MASK
                v[b] ^= v[c]
                v[b] = (v[b] >> turn_b | v[b] << 32 - turn_b) & MASK
        m = [m[at] for at in PERMUTATION]
    return [v[at] ^ v[at + 8] for at in range(8)] + [v[at + 8] ^ cv[at] for at in range(8)]


def blake3(data, length, key=IV, flags=0):
    """The first `length` bytes."""

    def chunk(at, data):
        cv = key
        blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
        for i, block in enumerate(blocks):
            mode = flags | (CHUNK_START if i == 0 else 0) | (CHUNK_END if i == len(blocks) - 1 else 0)
            if i == len(blocks) - 1:
                return cv, block, at, mode
            cv = compress(cv, block, 64, at, mode)[:8]

    def tree(at, data):
        if len(data) <= 1024:
            return chunk(at, data)
        half = 1024 * 2 ** int(math.log2((len(data) - 1) // 1024))
        both = (tree(at, data[:half]), tree(at + half // 1024, data[half:]))
        joined = b"".join(
            b"".join(word.to_bytes(4, "little") for word in compress(cv, block, len(block), count, mode)[:8])
            for cv, block, count, mode in both
        )
        return key, joined, 0, flags | PARENT

    cv, block, _, mode = tree(0, data)
    out, counter = b"", 0
    while len(out) < length:
        # A root is compressed with the place in the output for its counter.
        block_words = compress(cv, block, len(block), counter, mode | ROOT)
        out += b"".join(word.to_bytes(4, "little") for word in block_words)
        counter += 1
    return out[:length]


def stream(tag, parts, length):
    context = words(blake3(tag.encode(), 32, flags=KDF_CONTEXT))
    material = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return blake3(material, length, tuple(context), KDF_MATERIAL)


def digest(tag, *parts):
    return stream(tag, parts, 32)


def wide(tag, *parts):
    return int.from_bytes(stream(tag, parts, 64), "little") % L


# --- ChaCha20-Poly1305 (RFC 8439), nonce 0, no associated data ---


def chacha_block(key, counter):
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574] + words(key) + [counter, 0, 0, 0]
    v = list(start)
    for index in range(80):
        a, b, c, d = (COLUMNS + DIAGONALS)[index % 8]
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            v[x] = (v[x] + v[y]) & MASK
            v[z] ^= v[x]
            v[z] = (v[z] << turn | v[z] >> 32 - turn) & MASK
    return b"".join(((x + y) & MASK).to_bytes(4, "little") for x, y in zip(v, start))


def chacha(key, data):
    blocks = (chacha_block(key, 1 + at // 64) for at in range(0, len(data), 64))
    return bytes(x ^ y for x, y in zip(data, b"".join(blocks)))


def poly1305(key, ciphertext):
    one_time = chacha_block(key, 0)[:32]
    r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    padded = ciphertext + bytes(-len(ciphertext) % 16)
    padded += (0).to_bytes(8, "little") + len(ciphertext).to_bytes(8, "little")
    acc = 0
    for at in range(0, len(padded), 16):
        acc = (acc + int.from_bytes(padded[at : at + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((acc + int.from_bytes(one_time[16:], "little")) % 2**128).to_bytes(16, "little")


def encrypt(key, data):
    ciphertext = chacha(key, data)
    return ciphertext + poly1305(key, ciphertext)


def decrypt(key, data):
    """None when the tag does not fit."""
    ciphertext, tag = data[:-16], data[-16:]
    return chacha(key, ciphertext) if poly1305(key, ciphertext) == tag else None


# --- Ed25519 (RFC 8032) ---


def edwards_encode(p):
    inv = pow(p[2], -1, P)
    x, y = p[0] * inv % P, p[1] * inv % P
    return (y | negative(x) << 255).to_bytes(32, "little")


def ed25519_key(seed):
    h = hashlib.sha512(seed).digest()
    secret = int.from_bytes(h[:32], "little") & (2**254 - 8) | 2**254
    return secret, h[32:], edwards_encode(multiply(secret, B))


def ed25519_sign(seed, message):
    secret, prefix, public = ed25519_key(seed)
    k = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % L
    r = edwards_encode(multiply(k, B))
    c = int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % L
    return r + ((k + c * secret) % L).to_bytes(32, "little")


# --- The scheme ---

B = base_point()
G2_BYTES = stream("fairlane/1/second-generator", [], 64)
G2 = add(map_to_point(G2_BYTES[:32]), map_to_point(G2_BYTES[32:]))


def be(value, length):
    return value.to_bytes(length, "big")


def le(scalar):
    return (scalar % L).to_bytes(32, "little")


def read_scalar(data):
    """None unless below the order."""
    value = int.from_bytes(data, "little")
    return value if value < L else None


def delta_of(n, t):
    delta = 1
    if n > 16:
        return delta
    for subset in combinations(range(1, n + 1), t):
        for at in subset:
            others = [j for j in subset if j != at]
            top, bottom = math.prod(others), math.prod(j - at for j in others)
            delta = math.lcm(delta, abs(bottom) // math.gcd(top, bottom))
    return delta


def check_key(key):
    n, t = key["authorities"], key["threshold"]
    context = be(key["chain_id"], 8), be(key["epoch"], 4), be(n, 4), be(t, 4)
    entropy = bytes.fromhex(key["entropy"])
    polynomial = [wide("fairlane/1/deal", entropy, *context, be(power, 4)) for power in range(t)]
    assert key["polynomial"] == [le(c).hex() for c in polynomial]
    delta = delta_of(n, t)
    assert key["delta"] == str(delta)
    x = encode(multiply(2 * delta * polynomial[0], B))
    assert key["committee_key"] == x.hex()
    key_id = digest("fairlane/1/key-id", *context, be(delta, 8), x)[:16]
    assert key["key_id"] == key_id.hex()
    secrets = [sum(c * (i + 1) ** power for power, c in enumerate(polynomial)) % L for i in range(n)]
    publics = [encode(multiply(secret, B)).hex() for secret in secrets]
    assert key["verification_shares"] == publics
    files = [b"\1" + key_id + be(i, 1) + le(secret) for i, secret in enumerate(secrets)]
    assert key["key_shares"] == [data.hex() for data in files]


def label_of(key, fields, kind):
    payload, padded_len = bytes.fromhex(fields["payload"]), fields["padded_len"]
    carried = payload if padded_len is None else (payload + b"\x80").ljust(padded_len, b"\0")
    label = bytes([1, kind, padded_len is not None, 0]) + be(fields["rollup"], 8) + be(key["chain_id"], 8)
    label += bytes.fromhex(key["key_id"]) + be(fields["valid_until_us"], 8)
    return label + bytes.fromhex(fields["sender_tag"]) + be(len(carried), 4), payload, carried


def check_envelope(key, entry):
    label, payload, carried = label_of(key, entry["fields"], 1)
    entropy = bytes.fromhex(entry["entropy"])
    r, s = (wide(f"fairlane/1/seal-{name}", entropy, label, payload) for name in "rs")
    points = [encode(multiply(k, point)) for k in (r, s) for point in (B, G2)]
    d = encode(multiply(r, decode(bytes.fromhex(key["committee_key"]))))
    content_key = digest("fairlane/1/kem", points[0], d, label)
    ciphertext = encrypt(content_key, le(r) + carried)
    e = wide("fairlane/1/envelope", label, *points, ciphertext)
    z = (s + r * e) % L
    envelope = b"".join([label, *points, ciphertext, le(z)])
    names = ["label", "r", "s", "u", "u2", "w", "w2", "d", "content_key", "ciphertext", "e", "z", "envelope", "digest"]
    values = [label, le(r), le(s), *points, d, content_key, ciphertext, le(e), le(z), envelope, blake3(envelope, 32)]
    for name, value in zip(names, values, strict=True):
        assert entry[name] == value.hex(), name
    assert verdict_of(key, envelope) == "Ok"


def verdict_of(key, data):
    """What a node says to an envelope."""
    if len(data) > 16384:
        return "TooLarge"
    if len(data) < 64 or data[0] != 1 or data[1] > 1 or data[2] > 1 or data[3] != 0:
        return "Malformed"
    carried_len = int.from_bytes(data[60:64], "big")
    if len(data) != carried_len + (272 if data[1] else 64) or (data[2] and carried_len == 0):
        return "Malformed"
    if data[12:20] != be(key["chain_id"], 8) or data[20:36].hex() != key["key_id"]:
        return "WrongKey"
    if data[1] == 0:
        return "Ok"
    encodings = [data[at : at + 32] for at in (64, 96, 128, 160)]
    u, u2, w, w2 = points = [decode(encoding) for encoding in encodings]
    z = read_scalar(data[-32:])
    if z is None or None in points:
        return "Malformed"
    e = wide("fairlane/1/envelope", data[:64], *encodings, data[192:-32])
    first = encode(multiply(z, B)) == encode(add(w, multiply(e, u)))
    second = encode(multiply(z, G2)) == encode(add(w2, multiply(e, u2)))
    return "Ok" if first and second else "BadProof"


def outcome_of(data, d):
    """r and the carried payload, or None for void."""
    content = decrypt(digest("fairlane/1/kem", data[64:96], d, data[:64]), data[192:-32])
    r = None if content is None else read_scalar(content[:32])
    if r is None or encode(multiply(r, B)) != data[64:96]:
        return None
    return content[:32].hex(), content[32:].hex()


def merkle_root(leaves):
    """SHA-256, 0x00 before a leaf and 0x01 before a node; a tree of n splits after the largest power of two below n."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 2 ** int(math.log2(len(leaves) - 1))
    both = merkle_root(leaves[:half]) + merkle_root(leaves[half:])
    return hashlib.sha256(b"\1" + both).digest()


def weights(t, count):
    data = stream("fairlane/1/share-weights", [t], 16 * count)
    return [int.from_bytes(data[at : at + 16], "little") for at in range(0, 16 * count, 16)]


def transcript(key, batch, author, us, shares):
    context = bytes.fromhex(key["key_id"]), be(batch["seq"], 8), bytes.fromhex(batch["order_root"])
    x_i = bytes.fromhex(key["verification_shares"][author])
    t = digest("fairlane/1/share", *context, be(author, 1), x_i, be(len(us), 8), *us, *shares)
    return b"".join([b"\1", *context, be(author, 1), be(len(shares), 4), *shares]), t


def signed_bytes(unsigned):
    return b"fairlane/1/share-message" + digest("fairlane/1/share-message", unsigned)


def weighted(rho, encodings):
    return total(multiply(k, decode(data)) for k, data in zip(rho, encodings, strict=True))


def check_shares(key, batch, us, entry):
    author = entry["author"]
    secret = int.from_bytes(bytes.fromhex(key["key_shares"][author])[18:], "little")
    shares = [encode(multiply(secret, decode(u))) for u in us]
    assert entry["shares"] == [share.hex() for share in shares]
    head, t = transcript(key, batch, author, us, shares)
    rho = weights(t, len(us))
    assert entry["rho"] == [le(k).hex() for k in rho]
    u_star, d_star = weighted(rho, us), weighted(rho, shares)
    nonce = wide("fairlane/1/share-nonce", le(secret), t)
    a, b = encode(multiply(nonce, B)), encode(multiply(nonce, u_star))
    c = wide("fairlane/1/share-proof", t, encode(u_star), encode(d_star), a, b)
    zeta = (nonce + c * secret) % L
    unsigned = head + a + b + le(zeta)
    seed = bytes.fromhex(entry["signing_key"])
    message = unsigned + ed25519_sign(seed, signed_bytes(unsigned))
    names = ["verifying_key", "t", "u_star", "d_star", "nonce", "a", "b", "c", "zeta", "signed", "message"]
    values = [ed25519_key(seed)[2], t, encode(u_star), encode(d_star), le(nonce), a, b, le(c), le(zeta)]
    for name, value in zip(names, values + [signed_bytes(unsigned), message], strict=True):
        assert entry[name] == value.hex(), name
    assert verdict_of_shares(key, batch, us, message) == "Ok"


def verdict_of_shares(key, batch, us, data):
    """What an authority says to a share message whose bytes decode."""
    author, count = data[57], int.from_bytes(data[58:62], "big")
    assert data[0] == 1 and 1 <= count <= 4096 and len(data) == 222 + 32 * count
    if data[1:17].hex() != key["key_id"]:
        return "WrongKey"
    if data[17:25] != be(batch["seq"], 8) or data[25:57].hex() != batch["order_root"]:
        return "WrongBatch"
    # Ed25519 signatures are deterministic, and these keys are known: what is signed is what signing gives.
    seed = bytes.fromhex(batch["shares"][author]["signing_key"])
    if data[-64:] != ed25519_sign(seed, signed_bytes(data[:-64])):
        return "Signature"
    if count != len(us):
        return "Count"
    shares = [data[at : at + 32] for at in range(62, 62 + 32 * count, 32)]
    a, b, zeta = data[-160:-128], data[-128:-96], read_scalar(data[-96:-64])
    if zeta is None or None in [decode(point) for point in [*shares, a, b]]:
        return "Malformed"
    _, t = transcript(key, batch, author, us, shares)
    rho = weights(t, count)
    u_star, d_star = weighted(rho, us), weighted(rho, shares)
    c = wide("fairlane/1/share-proof", t, encode(u_star), encode(d_star), a, b)
    x_i = decode(bytes.fromhex(key["verification_shares"][author]))
    first = encode(multiply(zeta, B)) == encode(add(decode(a), multiply(c, x_i)))
    second = encode(multiply(zeta, u_star)) == encode(add(decode(b), multiply(c, d_star)))
    return "Ok" if first and second else "Proof"


def check_batch(vectors, batch):
    key = vectors["keys"][batch["key"]]
    entries = [vectors["envelopes"][at] for at in batch["envelopes"]]
    us = [bytes.fromhex(entry["u"]) for entry in entries]
    root = merkle_root([bytes.fromhex(entry["digest"]) for entry in entries])
    assert batch["order_root"] == root.hex()
    for entry in batch["shares"]:
        check_shares(key, batch, us, entry)
    for combination in batch["combinations"]:
        authors = combination["authors"]
        assert len(authors) == key["threshold"]
        coefficients = []
        for author in authors:
            others = [other + 1 for other in authors if other != author]
            top, bottom = math.prod(others), math.prod(other - author - 1 for other in others)
            coefficients.append(2 * int(key["delta"]) * top * pow(bottom, -1, L) % L)
        assert combination["coefficients"] == [le(c).hex() for c in coefficients]
        for at, entry in enumerate(entries):
            points = (decode(bytes.fromhex(batch["shares"][author]["shares"][at])) for author in authors)
            d = total(multiply(c, point) for c, point in zip(coefficients, points, strict=True))
            assert encode(d).hex() == combination["d"][at] == entry["d"]
    for opened, d in zip(batch["opened"], batch["combinations"][0]["d"], strict=True):
        envelope = bytes.fromhex(vectors["envelopes"][opened["envelope"]]["envelope"])
        assert outcome_of(envelope, bytes.fromhex(d)) == (opened["r"], opened["carried"])


def self_check():
    """Published values of each building block, so that an error here is not taken for one there."""
    assert blake3(b"", 32).hex().startswith("af1349b9f5f9a1a6a0404dea36dcc949")
    assert encode(B).hex() == "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
    assert decode(encode(B)) is not None and encode(multiply(0, B)) == bytes(32)
    empty = ed25519_sign(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"), b"")
    assert empty.hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")


def main():
    self_check()
    vectors = json.loads(pathlib.Path(__file__).with_name("sealing.json").read_text())
    group, keys = vectors["group"], vectors["keys"]
    assert group["order"] == L.to_bytes(32, "little").hex()
    assert group["g"] == encode(B).hex() and group["g2"] == encode(G2).hex()
    assert all(decode(bytes.fromhex(point)) is None for point in group["refused_points"])
    assert all(read_scalar(bytes.fromhex(scalar)) is None for scalar in group["refused_scalars"])
    for entry in vectors["transcripts"]:
        parts = [bytes.fromhex(part) for part in entry["parts"]]
        assert entry["hash"] == digest(entry["tag"], *parts).hex()
        assert entry["scalar"] == le(wide(entry["tag"], *parts)).hex()
    for key in keys:
        check_key(key)
    for entry in vectors["envelopes"]:
        check_envelope(keys[entry["key"]], entry)
    for entry in vectors["open_envelopes"]:
        label, _, carried = label_of(keys[entry["key"]], entry["fields"], 0)
        assert entry["envelope"] == (label + carried).hex()
        assert entry["digest"] == blake3(label + carried, 32).hex()
    for entry in vectors["refused_envelopes"]:
        assert verdict_of(keys[entry["key"]], bytes.fromhex(entry["envelope"])) == entry["verdict"], entry["what"]
    for batch in vectors["batches"]:
        check_batch(vectors, batch)
    for entry in vectors["refused_shares"]:
        batch = vectors["batches"][entry["batch"]]
        us = [bytes.fromhex(vectors["envelopes"][at]["u"]) for at in batch["envelopes"]]
        message = bytes.fromhex(entry["message"])
        assert verdict_of_shares(keys[batch["key"]], batch, us, message) == entry["verdict"], entry["what"]
    for entry in vectors["voids"]:
        envelope = bytes.fromhex(entry["envelope"])
        assert verdict_of(keys[entry["key"]], envelope) == "Ok", entry["what"]
        assert outcome_of(envelope, bytes.fromhex(entry["d"])) is None, entry["what"]
    counts = {name: len(value) for name, value in vectors.items() if isinstance(value, list)}
    print("all hold:", ", ".join(f"{count} {name}" for name, count in counts.items()))


if __name__ == "__main__":
    main()
