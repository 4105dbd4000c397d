#!/usr/bin/env python3
"""Computes certificate.json with another library: keys, possession, hashing to the curve, aggregation, and the pairing
that a contract asks EIP-2537's PAIRING_CHECK for. Needs py_ecc (pip install py_ecc); takes some seconds."""

import hashlib
import json
from pathlib import Path

from py_ecc.bls.hash import hkdf_expand, hkdf_extract
from py_ecc.bls.hash_to_curve import clear_cofactor_G1, hash_to_G1, hash_to_field_FQ, map_to_curve_G1
from py_ecc.bls.point_compression import compress_G1, compress_G2, decompress_G1
from py_ecc.fields import optimized_bls12_381_FQ as FQ
from py_ecc.fields import optimized_bls12_381_FQ2 as FQ2
from py_ecc.optimized_bls12_381 import (
    FQ12, G2, add, curve_order, final_exponentiate, multiply, neg, normalize, pairing,
)

vectors = json.loads((Path(__file__).parent / "certificate.json").read_text())
checked = 0


def same(what, found, kept):
    global checked
    assert found == kept, f"{what}: {found} is not {kept}"
    checked += 1


def fp(n):
    return bytes(16) + int(n).to_bytes(48, "big")


def g1_evm(point):
    x, y = normalize(point)
    return (fp(x) + fp(y)).hex()


def g2_evm(point):
    x, y = normalize(point)
    return b"".join(fp(c) for c in (*x.coeffs, *y.coeffs)).hex()


def g1_bytes(point):
    return compress_G1(point).to_bytes(48, "big").hex()


def g2_bytes(point):
    return b"".join(n.to_bytes(48, "big") for n in compress_G2(point)).hex()


def keygen(ikm, info):
    """KeyGen of draft-irtf-cfrg-bls-signature-05: the salt is hashed before its first use."""
    salt, secret = b"BLS-SIG-KEYGEN-SALT-", 0
    while secret == 0:
        salt = hashlib.sha256(salt).digest()
        prk = hkdf_extract(salt, ikm + b"\x00")
        okm = hkdf_expand(prk, info + (48).to_bytes(2, "big"), 48)
        secret = int.from_bytes(okm, "big") % curve_order
    return secret


sig_dst, pop_dst = (vectors[name].encode() for name in ("signature_dst", "possession_dst"))
message = b"fairlane/1/checkpoint" + b"".join((
    vectors["chain_id"].to_bytes(8, "big"), vectors["epoch"].to_bytes(4, "big"),
    vectors["seq"].to_bytes(8, "big"), bytes.fromhex(vectors["header_hash"]),
))
same("message", message.hex(), vectors["message"])
u = hash_to_field_FQ(message, 2, sig_dst, hashlib.sha256)
same("u", [fp(n).hex() for n in u], vectors["u"])
mapped = [clear_cofactor_G1(map_to_curve_G1(n)) for n in u]
same("MAP_FP_TO_G1 of both, added", g1_evm(add(*mapped)), vectors["message_point"])
point = hash_to_G1(message, sig_dst, hashlib.sha256)
same("message point", g1_evm(point), vectors["message_point"])

keys, signatures = [], []
for authority in vectors["authorities"]:
    secret = keygen(bytes.fromhex(authority["entropy"]), b"fairlane/1/certificate-key")
    same("secret", secret.to_bytes(32, "big").hex(), authority["secret"])
    key = multiply(G2, secret)
    same("key", g2_bytes(key), authority["key"])
    same("key for contracts", g2_evm(key), authority["key_evm"])
    possession = multiply(hash_to_G1(bytes.fromhex(authority["key"]), pop_dst, hashlib.sha256), secret)
    same("possession", g1_bytes(possession), authority["possession"])
    same("possession for contracts", g1_evm(possession), authority["possession_evm"])
    signature = multiply(point, secret)
    same("signature", g1_bytes(signature), authority["signature"])
    same("signature for contracts", g1_evm(signature), authority["signature_evm"])
    keys.append(key)
    signatures.append(signature)

total, key = signatures[vectors["signers"][0]], keys[vectors["signers"][0]]
for signer in vectors["signers"][1:]:
    total, key = add(total, signatures[signer]), add(key, keys[signer])
bits = sum(1 << signer for signer in vectors["signers"])
certificate = b"\x01" + message[21:] + bits.to_bytes(16, "big")
same("certificate", certificate.hex() + g1_bytes(total), vectors["certificate"])
same("aggregate for contracts", g1_evm(total), vectors["signature_evm"])
same("-g2", g2_evm(neg(G2)), vectors["minus_generator"])
same("sum of keys", g2_evm(key), vectors["sum_of_keys"])
whole = g1_evm(total) + g2_evm(neg(G2)) + g1_evm(point) + g2_evm(key)
same("pairing input", whole, vectors["pairing_input"])


def pairing_check(data):
    """PAIRING_CHECK: pairs of G1 and G2, 384 bytes each; whether the product of their pairings is 1."""
    numbers = [int.from_bytes(data[at:at + 64], "big") for at in range(0, len(data), 64)]
    product = FQ12.one()
    for x, y, *rest in zip(*[iter(numbers)] * 6):
        q = (FQ2(rest[:2]), FQ2(rest[2:]), FQ2.one())
        product *= pairing(q, (FQ(x), FQ(y), FQ.one()), final_exponentiate=False)
    return final_exponentiate(product) == FQ12.one()


same("pairing check", pairing_check(bytes.fromhex(vectors["pairing_input"])), True)
for case in vectors["refused"]:
    data = bytes.fromhex(case["certificate"])
    mask = int.from_bytes(data[53:69], "big")
    signers = [index for index in range(128) if mask >> index & 1]
    holds = (
        data[:1] == b"\x01" and data[1:13] == message[21:33] and max(signers) < len(keys)
        and len(signers) >= 3 and data[69] != 0xC0
    )
    if holds:
        sum_of_keys = keys[signers[0]]
        for signer in signers[1:]:
            sum_of_keys = add(sum_of_keys, keys[signer])
        said = hash_to_G1(b"fairlane/1/checkpoint" + data[1:53], sig_dst, hashlib.sha256)
        aggregate = decompress_G1(int.from_bytes(data[69:], "big"))
        whole = g1_evm(aggregate) + g2_evm(neg(G2)) + g1_evm(said) + g2_evm(sum_of_keys)
        holds = pairing_check(bytes.fromhex(whole))
    same(case["what"], holds, False)
print(f"{checked} values hold")
