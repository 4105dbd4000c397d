//! A file round trip, and one refusal for each thing that can be wrong.

use ed25519_dalek::SigningKey;
use fairlane_engine::certificate::CertificateSecret;
use fairlane_engine::dkg::DecryptionKey;
use fairlane_engine::seal::deal;

use super::*;

fn directory() -> Directory {
    let (sealing_key, _) = deal(ChainId(7), Epoch(2), 4, 3, &[1; 32]).unwrap();
    let keys = (0..4u8).map(|index| SigningKey::from_bytes(&[index; 32]).verifying_key());
    let rollup = Rollup {
        id: RollupId(1),
        policy: RollupPolicy::Sealed,
    };
    let committee = Committee::new(
        ChainId(7),
        Epoch(2),
        TimestampUs(123),
        Parameters::default(),
        vec![rollup],
        keys.collect(),
    );
    let addresses = (0..4u16).map(|index| Addresses {
        client: SocketAddr::from(([127, 0, 0, 1], 7_000 + index)),
        peer: SocketAddr::from(([127, 0, 0, 1], 8_000 + index)),
    });
    let certificate_keys: Vec<_> = (0..4u8)
        .map(|index| CertificateSecret::generate(&[index; 32]))
        .map(|secret| (secret.public().bytes(), secret.possession()))
        .collect();
    let committee = committee.unwrap();
    Directory {
        committee: committee.with_certificate_keys(&certificate_keys).unwrap(),
        sealing_key,
        addresses: addresses.collect(),
        link_keys: (0..4u8).map(|index| [index + 60; 32]).collect(),
    }
}

fn file() -> CommitteeFile {
    CommitteeFile::describe(&directory())
}

/// Parses and resolves the file after `change`; gives the refusal.
fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut json = serde_json::to_value(file()).unwrap();
    change(&mut json);
    CommitteeFile::parse(&json.to_string())
        .and_then(|file| file.resolve())
        .map(|_| ())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_file_reads_back_as_the_same_directory() {
    let written = directory();
    let read = CommitteeFile::parse(&file().to_json())
        .unwrap()
        .resolve()
        .unwrap();
    assert_eq!(read.sealing_key, written.sealing_key);
    assert_eq!(read.addresses, written.addresses);
    assert_eq!(read.link_keys, written.link_keys);
    assert_eq!(
        read.committee.certificate_keys(),
        written.committee.certificate_keys()
    );
    assert_eq!(
        read.committee.signing_keys(),
        written.committee.signing_keys()
    );
    assert_eq!(read.committee.parameters, written.committee.parameters);
    assert_eq!(read.committee.epoch_start, written.committee.epoch_start);
    assert_eq!(CommitteeFile::describe(&read), file());
}

#[test]
fn every_field_that_does_not_hold_is_named() {
    type Change = fn(&mut serde_json::Value);
    let cases: Vec<(&str, Change)> = vec![
        ("version: is 2", |json| json["version"] = 2.into()),
        ("missing field `chain_id`", |json| {
            json.as_object_mut().unwrap().remove("chain_id");
        }),
        ("epoch: invalid type", |json| json["epoch"] = "x".into()),
        ("unknown field `deferal_cap`", |json| {
            json["parameters"]["deferal_cap"] = 3.into()
        }),
        ("parameters: a parameter is out of range", |json| {
            json["parameters"]["deferral_cap"] = 0.into();
        }),
        ("reveal_threshold: a reveal threshold of 4", |json| {
            json["reveal_threshold"] = 4.into()
        }),
        ("committee_key: is not 32 bytes", |json| {
            json["committee_key"] = "zz".into()
        }),
        (
            "committee_key: the committee key is not a valid point",
            |json| {
                json["committee_key"] = "ff".repeat(32).into();
            },
        ),
        ("committee_key: the verification shares", |json| {
            json["committee_key"] = json["authorities"][0]["verification_share"].clone();
        }),
        ("key_id: is not that of the committee key", |json| {
            json["key_id"] = "00".repeat(16).into()
        }),
        ("key_id: is not 16 bytes", |json| {
            json["key_id"] = "00".into()
        }),
        ("rollups[0].policy: unknown variant", |json| {
            json["rollups"][0]["policy"] = "shut".into()
        }),
        ("rollups: a rollup id stands twice", |json| {
            let rollup = json["rollups"][0].clone();
            json["rollups"].as_array_mut().unwrap().push(rollup);
        }),
        ("authorities[1].index: is 3", |json| {
            json["authorities"][1]["index"] = 3.into()
        }),
        (
            "authorities[2].signing_key: is not an Ed25519 key",
            |json| {
                // The identity: a key of small order, under which anyone can sign.
                json["authorities"][2]["signing_key"] = format!("01{}", "00".repeat(31)).into();
            },
        ),
        (
            "authorities: two authorities have the same signing key",
            |json| {
                json["authorities"][2]["signing_key"] =
                    json["authorities"][1]["signing_key"].clone();
            },
        ),
        (
            "authorities[2].link_key: is missing; make the keys and this file again",
            |json| {
                let authority = json["authorities"][2].as_object_mut().unwrap();
                authority.remove("link_key");
            },
        ),
        (
            "authorities[1].certificate_key: is missing; make the keys and this file again",
            |json| {
                let authority = json["authorities"][1].as_object_mut().unwrap();
                authority.remove("certificate_key");
            },
        ),
        ("authorities[1].certificate_key: is not 96 bytes", |json| {
            json["authorities"][1]["certificate_key"] = "00".into()
        }),
        (
            "authorities[1].certificate_key: is not a point of G2's subgroup, or is the identity",
            |json| {
                json["authorities"][1]["certificate_key"] = format!("c0{}", "00".repeat(95)).into();
            },
        ),
        (
            "authorities[3].certificate_key: is another authority's, too",
            |json| {
                for name in ["certificate_key", "certificate_possession"] {
                    json["authorities"][3][name] = json["authorities"][1][name].clone();
                }
            },
        ),
        (
            "authorities[1].certificate_possession: is missing; make the keys and this file again",
            |json| {
                let authority = json["authorities"][1].as_object_mut().unwrap();
                authority.remove("certificate_possession");
            },
        ),
        (
            "authorities[1].certificate_possession: does not show that the secret of certificate_key is known",
            |json| {
                let another = json["authorities"][0]["certificate_possession"].clone();
                json["authorities"][1]["certificate_possession"] = another;
            },
        ),
        ("authorities[2].link_key: is not 32 bytes", |json| {
            json["authorities"][2]["link_key"] = "00".into()
        }),
        ("authorities[2].link_key: is another authority's", |json| {
            json["authorities"][2]["link_key"] = json["authorities"][1]["link_key"].clone();
        }),
        (
            "authorities[3].verification_share: the verification share",
            |json| {
                json["authorities"][3]["verification_share"] = "00".repeat(32).into();
            },
        ),
        (
            "authorities[0].client_address: \"localhost\" is not an address",
            |json| {
                json["authorities"][0]["client_address"] = "localhost".into();
            },
        ),
        (
            "authorities[1].peer_address: 127.0.0.1:7000 stands twice",
            |json| {
                json["authorities"][1]["peer_address"] = "127.0.0.1:7000".into();
            },
        ),
        ("authorities: a committee has 1 to 128", |json| {
            json["authorities"] = serde_json::Value::Array(Vec::new());
        }),
        ("authorities[0]: unknown field `secret`", |json| {
            json["authorities"][0]["secret"] = 1.into();
        }),
    ];
    for (words, change) in cases {
        let message = refusal(change);
        let named = message
            .replace(".secret:", ":")
            .replace(".deferal_cap:", ":");
        assert!(named.contains(words), "{message:?} should say {words:?}");
        assert!(!message.contains('\n'), "one sentence: {message:?}");
    }
}

#[test]
fn text_that_is_no_object_is_refused() {
    for text in ["", "[]", "{", "nonsense"] {
        assert!(CommitteeFile::parse(text).is_err(), "{text:?}");
    }
    let two = file().to_json() + "{}";
    let message = CommitteeFile::parse(&two).unwrap_err().to_string();
    assert!(message.contains("trailing characters"), "{message}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = Directory::load(Path::new("/nonexistent.json"))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("cannot read the committee file /nonexistent.json"),
        "{message}"
    );
}

/// The file of a committee that has not made its key yet.
fn undealt() -> CommitteeFile {
    let directory = directory();
    let key = |index: u8| DecryptionKey::generate(&[index; 32]).public();
    let plan = KeyPlan {
        encryption_keys: (0..4).map(key).collect(),
        threshold: 3,
        window_anchors: 64,
        renew_us: None,
    };
    CommitteeFile::describe_roster(&Roster {
        committee: directory.committee.with_key_plan(plan).unwrap(),
        sealing_key: None,
        addresses: directory.addresses,
        link_keys: directory.link_keys,
    })
}

#[test]
fn a_committee_without_a_key_is_a_roster_and_no_directory_until_it_has_made_one() {
    let file = undealt();
    assert!(!file.to_json().contains("verification_share"));
    let mut roster = CommitteeFile::parse(&file.to_json())
        .unwrap()
        .roster()
        .unwrap();
    let plan = roster.committee.key_plan().unwrap();
    assert_eq!((plan.threshold, plan.window_anchors), (3, 64));
    assert_eq!(CommitteeFile::describe_roster(&roster), file);
    let refused = file.resolve().map(|_| ()).unwrap_err().to_string();
    assert!(
        refused.starts_with("committee_key: is missing; a committee makes"),
        "{refused}"
    );

    let (made, _) = deal(ChainId(7), Epoch(3), 4, 3, &[1; 32]).unwrap();
    roster.sealing_key = Some(made.clone());
    let with_key = CommitteeFile::describe_roster(&roster);
    assert_eq!(with_key.key_epoch, Some(3));
    let read = CommitteeFile::parse(&with_key.to_json()).unwrap();
    assert_eq!(read.resolve().unwrap().sealing_key, made);
    assert_eq!(
        CommitteeFile::describe_roster(&read.roster().unwrap()),
        with_key
    );
}

#[test]
fn a_committee_that_renews_its_keys_says_so_and_one_that_keeps_its_key_says_nothing() {
    let mut file = undealt();
    let renew_us = |file: &CommitteeFile| {
        let read = CommitteeFile::parse(&file.to_json()).unwrap();
        let roster = read.roster().unwrap();
        assert_eq!(CommitteeFile::describe_roster(&roster), *file);
        roster.committee.key_plan().unwrap().renew_us
    };
    assert_eq!(renew_us(&file), None);
    assert!(!file.to_json().contains("renew_us"));
    let part = file.key_generation.as_mut().unwrap();
    part.renew_us = 3_600_000_000;
    assert_eq!(renew_us(&file), Some(3_600_000_000));
    let zero = file.to_json().replace("3600000000", "0");
    let zero = CommitteeFile::parse(&zero).unwrap().roster().unwrap();
    assert_eq!(zero.committee.key_plan().unwrap().renew_us, None);
}

#[test]
fn what_a_key_generation_needs_and_lacks_is_named() {
    type Change = fn(&mut CommitteeFile);
    let cases: Vec<(&str, Change)> = vec![
        ("authorities[0].verification_share: is missing", |file| {
            file.key_generation = None;
        }),
        ("authorities[2].encryption_key: is missing", |file| {
            file.authorities[2].encryption_key = None;
        }),
        (
            "authorities[2].encryption_key: is not a valid point",
            |file| {
                file.authorities[2].encryption_key = Some("00".repeat(32));
            },
        ),
        (
            "authorities: two authorities have the same encryption key",
            |file| {
                file.authorities[2].encryption_key = file.authorities[1].encryption_key.clone();
            },
        ),
        ("reveal_threshold: a reveal threshold of 4", |file| {
            file.reveal_threshold = 4
        }),
        ("key_generation.window_anchors: a window of no", |file| {
            file.key_generation = Some(KeyGenerationPart {
                window_anchors: 0,
                renew_us: 0,
            });
        }),
    ];
    for (expected, change) in cases {
        let mut file = undealt();
        change(&mut file);
        let refused = file.roster().map(|_| ()).unwrap_err().to_string();
        assert!(refused.starts_with(expected), "{expected}: {refused}");
    }
}
