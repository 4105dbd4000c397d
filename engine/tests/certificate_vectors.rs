//! `vectors/certificate.json`: every value on the way to a certificate and to its check in a contract, as the engine gives
//! it. `vectors/check_certificate.py` computes them with another library.
//!
//! To write the file anew: `cargo test -p fairlane-engine --test certificate_vectors -- --ignored write_the_file`.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use std::path::PathBuf;

use fairlane_engine::certificate::{
    Certificate, CertificateKeys, CertificateSecret, CertifiedHeader, POSSESSION_DST,
    SIGNATURE_DST, aggregate, evm,
};
use fairlane_engine::types::{AuthorityIndex, AuthoritySet, BatchSeq, ChainId, Epoch, Sha256Hash};
use serde_json::{Value, json};

const N: u8 = 4;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/certificate.json")
}

fn hex_of(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

fn vectors() -> Value {
    let secrets: Vec<CertificateSecret> = (0..N)
        .map(|index| CertificateSecret::generate(&[index + 1; 32]))
        .collect();
    let published = secrets.iter();
    let published: Vec<_> = published
        .map(|secret| (secret.public().bytes(), secret.possession()))
        .collect();
    let keys = CertificateKeys::new(ChainId(7), Epoch(2), &published).unwrap();
    let header = CertifiedHeader {
        chain_id: ChainId(7),
        epoch: Epoch(2),
        seq: BatchSeq(11),
        hash: Sha256Hash([0xAB; 32]),
    };
    let authorities = secrets.iter().zip(0u8..).map(|(secret, index)| {
        let (key, possession, signature) =
            (secret.public(), secret.possession(), secret.sign(&header));
        json!({
            "entropy": hex_of([index + 1; 32]),
            "secret": hex_of(*secret.to_bytes()),
            "key": hex_of(key.bytes()),
            "key_evm": hex_of(evm::key_point(&key)),
            "possession": hex_of(possession.0),
            "possession_evm": hex_of(evm::signature_point(&possession.0).unwrap()),
            "signature": hex_of(signature),
            "signature_evm": hex_of(evm::signature_point(&signature).unwrap()),
        })
    });
    let authorities: Vec<Value> = authorities.collect();
    let sign = |index: u8| {
        (
            AuthorityIndex(index),
            secrets[usize::from(index)].sign(&header),
        )
    };
    let signatures: Vec<_> = [0, 2, 3].map(sign).into();
    let certificate = aggregate(&header, &signatures, &keys).certificate.unwrap();
    assert_eq!(certificate.verify(&keys), Ok(()));
    let message = header.message();
    let pairing_input = evm::pairing_input(&certificate, &keys).unwrap();
    let (sum_at, point_at) = (pairing_input.len() - evm::G2_LEN, evm::G1_LEN + evm::G2_LEN);
    json!({
        "signature_dst": String::from_utf8(SIGNATURE_DST.to_vec()).unwrap(),
        "possession_dst": String::from_utf8(POSSESSION_DST.to_vec()).unwrap(),
        "chain_id": 7,
        "epoch": 2,
        "authorities": authorities,
        "seq": 11,
        "header_hash": hex_of(header.hash.0),
        "message": hex_of(message),
        "u": evm::hash_to_field(&message, SIGNATURE_DST).map(hex_of),
        "message_point": hex_of(evm::hash_to_curve(&message, SIGNATURE_DST)),
        "signers": [0, 2, 3],
        "certificate": hex_of(certificate.encode()),
        "signature_evm": hex_of(evm::signature_point(&certificate.signature).unwrap()),
        "minus_generator": hex_of(evm::minus_generator()),
        "sum_of_keys": hex_of(&pairing_input[sum_at..]),
        "pairing_input": hex_of(&pairing_input),
        "message_point_at": point_at,
        "refused": refused(&certificate, &secrets, &keys),
    })
}

/// Certificates that do not hold, and what is said of each.
fn refused(
    good: &Certificate,
    secrets: &[CertificateSecret],
    keys: &CertificateKeys,
) -> Vec<Value> {
    let with_signers = |mask| Certificate {
        signers: AuthoritySet::from_mask(mask),
        ..*good
    };
    let mut infinity = *good;
    infinity.signature = [0; 48];
    infinity.signature[0] = 0xC0;
    let mut alone = with_signers(0b1101);
    alone.signature = secrets[0].sign(&good.header);
    let mut later = *good;
    later.header.seq = BatchSeq(12);
    let mut foreign = *good;
    foreign.header.chain_id = ChainId(8);
    let cases = [
        ("too few signers are named", with_signers(0b0101)),
        ("another signer is named", with_signers(0b1110)),
        ("one more signer is named", with_signers(0b1111)),
        ("a signer is no member", with_signers(0b11101)),
        ("one signature only", alone),
        ("the signature is the identity", infinity),
        ("another seq", later),
        ("another chain", foreign),
    ];
    cases
        .map(|(what, certificate)| {
            let error = certificate.verify(keys).unwrap_err();
            json!({
                "what": what,
                "certificate": hex_of(certificate.encode()),
                "error": error.to_string(),
            })
        })
        .into()
}

#[test]
fn the_file_holds_what_the_engine_gives() {
    let text = std::fs::read_to_string(path()).unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(kept, vectors());
}

#[test]
#[ignore = "writes the file that the other test reads"]
fn write_the_file() {
    let mut text = serde_json::to_string_pretty(&vectors()).unwrap();
    text.push('\n');
    std::fs::write(path(), text).unwrap();
}

#[test]
fn expansion_gives_the_fields_of_rfc_9380() {
    // RFC 9380, appendix J.9.1: BLS12381G1_XMD:SHA-256_SSWU_RO_, message "abc".
    let dst = b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_";
    let u = evm::hash_to_field(b"abc", dst).map(|u| hex_of(&u[16..]));
    assert_eq!(
        u[0],
        "0d921c33f2bad966478a03ca35d05719bdf92d347557ea166e5bba579eea9b83e9afa5c088573c2281410369fbd32951"
    );
    assert_eq!(
        u[1],
        "003574a00b109ada2f26a37a91f9d1e740dffd8d69ec0c35e1e9f4652c7dba61123e9dd2e76c655d956e2b3462611139"
    );
    let point = evm::hash_to_curve(b"abc", dst);
    assert_eq!(
        hex_of(&point[16..64]),
        "03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903"
    );
}
