//! Each way to tamper with a journal, by name, and the rule that finds it.

use ed25519_dalek::SigningKey;
use fairlane_engine::batch::{BatchEntry, Outcome};
use fairlane_engine::committee::Committee;
use fairlane_engine::dag::Vertex;
use fairlane_engine::effect::Record;
use fairlane_engine::seal::ShareMessage;
use fairlane_engine::types::{
    AuthorityIndex, ChainId, Epoch, Position, Round, Sha256Hash, TimestampUs,
};
use fairlane_engine::verify::{Fault, Rule};

use crate::common::World;
use crate::edit::{
    Batch, batch_at, body_mut, change_archive, change_batch, change_bytes, change_header, find,
    find_batch, is_own_vertex, is_vertex, relink, renumber, resign,
};
use crate::{Known, OWN, SECOND, Seen, load, world};

/// A run of a committee, and the journal that is tampered with.
struct Recording {
    world: World,
    records: Vec<Record>,
    /// A batch with at least three entries, the first three revealed.
    seq: u64,
    /// A batch with void entries.
    void: u64,
}

impl Recording {
    fn make() -> Self {
        let mut world = world();
        load(&mut world, 0..60);
        world.run_for(SECOND);
        let records = world.nodes[usize::from(OWN)].journal.clone();
        let is_revealed = |entry: &BatchEntry| matches!(entry.outcome, Outcome::Revealed { .. });
        let seq = find_batch(&records, |batch| {
            batch.entries.len() >= 3
                && batch.entries[..3].iter().all(is_revealed)
                && batch.header.void == 0
        });
        let void = find_batch(&records, |batch| batch.header.void > 0);
        Self {
            world,
            records,
            seq,
            void,
        }
    }

    fn known(&self) -> Known {
        Known::of(&self.world, OWN)
    }

    /// The index of the first void entry of that batch.
    fn void_entry(&self) -> usize {
        let batch = Batch::read(&self.records[batch_at(&self.records, self.void)]).unwrap();
        let is_void = |entry: &BatchEntry| entry.outcome == Outcome::Void;
        batch.entries.iter().position(is_void).unwrap()
    }

    /// Where the share messages of that batch stand.
    fn shares(&self) -> std::ops::Range<usize> {
        let end = batch_at(&self.records, self.void);
        let is_share = |at: &usize| matches!(self.records[*at], Record::Share(_));
        let count = (0..end).rev().take_while(is_share).count();
        assert_eq!(count, 3, "a quorum of four");
        end - count..end
    }
}

/// One way to tamper: what it is called, the rule that finds it (one of these, where it depends on what stands around it), and
/// what is done to a copy of the journal.
type Way = (
    &'static str,
    &'static [Rule],
    fn(&Recording, &mut Vec<Record>),
);

const BATCHES: &[Way] = &[
    ("two entries swapped", &[Rule::Order], |of, records| {
        change_batch(records, of.seq, |batch| swap(batch, 0, 1));
    }),
    ("the first entry dropped", &[Rule::Order], |of, records| {
        change_batch(records, of.seq, |batch| {
            batch.entries.remove(0);
        });
    }),
    ("the last entry dropped", &[Rule::Cut], |of, records| {
        change_batch(records, of.seq, |batch| {
            batch.entries.pop();
        });
    }),
    (
        "an entry inserted in front",
        &[Rule::Order],
        |of, records| {
            change_batch(records, of.seq, |batch| {
                batch.entries.insert(0, invented());
            });
        },
    ),
    ("an entry added behind", &[Rule::Cut], |of, records| {
        change_batch(records, of.seq, |batch| batch.entries.push(invented()));
    }),
    ("an entry altered", &[Rule::Order], |of, records| {
        change_batch(records, of.seq, |batch| batch.entries[1].digest[31] ^= 1);
    }),
    (
        "an entry given to another rollup",
        &[Rule::Archive],
        |of, records| {
            change_batch(records, of.seq, |batch| batch.entries[1].rollup_id += 1);
        },
    ),
    (
        "a revealed payload changed",
        &[Rule::Reveal],
        |of, records| {
            change_batch(records, of.seq, |batch| {
                let range = batch.range(1);
                batch.payload[range.start] ^= 1;
            });
        },
    ),
    (
        "a revealed payload shortened",
        &[Rule::Reveal],
        |of, records| {
            change_batch(records, of.seq, |batch| {
                let at = batch.range(1).end - 1;
                batch.payload[at] = 0;
                if let Outcome::Revealed { len, .. } = &mut batch.entries[1].outcome {
                    *len -= 1;
                }
            });
        },
    ),
    ("r changed", &[Rule::Reveal], |of, records| {
        change_batch(records, of.seq, |batch| {
            if let Outcome::Revealed { r, .. } = &mut batch.entries[1].outcome {
                r[0] ^= 1;
            }
        });
    }),
    ("r of another entry", &[Rule::Reveal], |of, records| {
        change_batch(records, of.seq, |batch| {
            let Outcome::Revealed { r: other, .. } = batch.entries[0].outcome else {
                panic!("it is revealed");
            };
            if let Outcome::Revealed { r, .. } = &mut batch.entries[1].outcome {
                *r = other;
            }
        });
    }),
    ("r that is no scalar", &[Rule::Reveal], |of, records| {
        change_batch(records, of.seq, |batch| {
            if let Outcome::Revealed { r, .. } = &mut batch.entries[1].outcome {
                *r = [0xff; 32];
            }
        });
    }),
    ("revealed made void", &[Rule::Void], |of, records| {
        change_batch(records, of.seq, |batch| make_void(batch, 1));
    }),
    (
        "revealed made void beside a void one",
        &[Rule::Void],
        |of, records| {
            let other = usize::from(of.void_entry() == 0);
            change_batch(records, of.void, |batch| make_void(batch, other));
        },
    ),
    ("revealed made open", &[Rule::Reveal], |of, records| {
        change_batch(records, of.seq, |batch| {
            let (offset, len) = batch.entries[1].outcome.range().unwrap();
            batch.entries[1].outcome = Outcome::Open { offset, len };
        });
    }),
    ("void made revealed", &[Rule::Reveal], |of, records| {
        let entry = of.void_entry();
        change_batch(records, of.void, |batch| {
            let offset = (0..entry)
                .filter_map(|index| batch.entries[index].outcome.range())
                .map(|(offset, len)| offset + len)
                .max()
                .unwrap_or(0);
            let (r, len) = ([1; 32], 0);
            batch.entries[entry].outcome = Outcome::Revealed { r, offset, len };
        });
    }),
    (
        "a share message of a void entry altered",
        &[Rule::Void],
        |of, records| {
            change_bytes(&mut records[of.shares().start], |bytes| bytes[80] ^= 1);
        },
    ),
    (
        "a share message's share exchanged",
        &[Rule::Void],
        |of, records| {
            change_share(&mut records[of.shares().start], |message| {
                message.shares[0] = message.a;
            });
        },
    ),
    ("a share message left out", &[Rule::Void], |of, records| {
        records.remove(of.shares().start);
    }),
    (
        "one author's share message for another's",
        &[Rule::Void],
        |of, records| {
            let shares = of.shares();
            records[shares.start] = records[shares.start + 1].clone();
        },
    ),
    ("a share message of nobody", &[Rule::Void], |of, records| {
        change_share(&mut records[of.shares().start], |message| {
            message.author = AuthorityIndex(9);
        });
    }),
    (
        "all share messages left out, and the journal ends there",
        &[Rule::Void],
        |of, records| {
            records.truncate(of.shares().end + 1);
            records.drain(of.shares());
        },
    ),
    ("a batch removed", &[Rule::Chain], |of, records| {
        records.remove(batch_at(records, of.seq));
        relink(records);
    }),
    (
        "a batch removed and those behind it renumbered",
        &[Rule::Order],
        |of, records| {
            records.remove(batch_at(records, of.seq));
            renumber(records);
        },
    ),
    ("a batch twice", &[Rule::Chain], |of, records| {
        let at = batch_at(records, of.seq);
        records.insert(at, records[at].clone());
        relink(records);
    }),
    (
        "a batch twice and those behind it renumbered",
        &[Rule::Order, Rule::Commit],
        |of, records| {
            let at = batch_at(records, of.seq);
            records.insert(at, records[at].clone());
            renumber(records);
        },
    ),
    ("two batches exchanged", &[Rule::Chain], |of, records| {
        let (one, other) = (batch_at(records, of.seq), batch_at(records, of.seq + 1));
        records.swap(one, other);
    }),
    (
        "a batch before its anchor",
        &[Rule::Commit],
        |_, records| {
            let batch = records.remove(batch_at(records, 0));
            let first = find(records, 0, |record| matches!(record, Record::Anchor(_)));
            records.insert(first, batch);
        },
    ),
    ("a batch after the last", &[Rule::Commit], |_, records| {
        let mut batch = records.iter().rev().find_map(Batch::read).unwrap();
        let previous = batch.header.hash();
        batch.header.seq = batch.header.seq.next();
        batch.header.previous = previous;
        records.push(batch.write());
    }),
    (
        "a byte of an archive's slack",
        &[Rule::Archive],
        |of, records| {
            change_archive(records, of.seq, |archive| archive[3] = 1);
        },
    ),
    ("payloads moved apart", &[Rule::Archive], |of, records| {
        change_batch(records, of.seq, |batch| {
            batch.payload.push(0);
        });
    }),
    ("an archive cut off", &[Rule::Archive], |of, records| {
        let at = batch_at(records, of.seq);
        change_bytes(&mut records[at], |bytes| bytes.truncate(bytes.len() - 16));
    }),
    (
        "another header beside the archive",
        &[Rule::Header],
        |of, records| {
            let at = batch_at(records, of.seq);
            change_bytes(&mut records[at], |bytes| bytes[61] ^= 1);
        },
    ),
    (
        "another header inside the archive",
        &[Rule::Archive],
        |of, records| {
            change_archive(records, of.seq, |archive| {
                let header = Batch::read(&of.records[batch_at(&of.records, of.seq)]);
                let header = header.unwrap().header.encode();
                let mut windows = archive.windows(header.len());
                let at = windows.position(|window| window == header).unwrap();
                archive[at + 61] ^= 1;
            });
        },
    ),
];

const HEADERS: &[Way] = &[
    ("header: chain id", &[Rule::Header], |of, records| {
        change_header(records, of.seq, |header| header.chain_id.0 += 1);
    }),
    ("header: epoch", &[Rule::Header], |of, records| {
        change_header(records, of.seq, |header| header.epoch = Epoch(1));
    }),
    ("header: seq", &[Rule::Chain], |of, records| {
        change_header(records, of.seq, |header| header.seq.0 += 1);
    }),
    ("header: previous", &[Rule::Chain], |of, records| {
        change_header(records, of.seq, |header| header.previous.0[0] ^= 1);
    }),
    ("header: anchor round", &[Rule::Header], |of, records| {
        change_header(records, of.seq, |header| header.anchor_round.0 += 1);
    }),
    ("header: time", &[Rule::Header], |of, records| {
        change_header(records, of.seq, |header| header.time_us.0 += 1);
    }),
    ("header: order root", &[Rule::Header], |of, records| {
        change_header(records, of.seq, |header| header.order_root.0[0] ^= 1);
    }),
    ("header: payload root", &[Rule::Header], |of, records| {
        change_header(records, of.seq, |header| header.payload_root.0[0] ^= 1);
    }),
    (
        "header: state root of a checkpoint",
        &[Rule::State],
        |_, records| {
            let none = Sha256Hash::default();
            let seq = find_batch(records, |batch| batch.header.state_root != none);
            change_header(records, seq, |header| header.state_root.0[0] ^= 1);
        },
    ),
    (
        "header: a state root where no checkpoint is",
        &[Rule::State],
        |_, records| {
            let none = Sha256Hash::default();
            let seq = find_batch(records, |batch| batch.header.state_root == none);
            change_header(records, seq, |header| header.state_root.0[0] = 1);
        },
    ),
    ("header: entries", &[Rule::Header], |of, records| {
        change_header(records, of.seq, |header| header.entries += 1);
    }),
    ("header: void entries", &[Rule::Header], |of, records| {
        change_header(records, of.seq, |header| header.void += 1);
    }),
    ("header: group waits cut", &[Rule::Header], |of, records| {
        change_header(records, of.seq, |header| header.group_wait_cut += 1);
    }),
    (
        "header: deferral caps fired",
        &[Rule::Header],
        |of, records| {
            change_header(records, of.seq, |header| header.cap_fired += 1);
        },
    ),
];

const VERTICES: &[Way] = &[
    ("a vertex's signature", &[Rule::Signature], |_, records| {
        let at = find(records, 20, is_vertex);
        change_bytes(&mut records[at], |bytes| bytes[VERTEX_HEADER_LEN] ^= 1);
    }),
    ("a vertex's entries", &[Rule::Vertex], |of, records| {
        let at = listing(of, records);
        change_bytes(&mut records[at], |bytes| {
            let last = bytes.len() - 9;
            bytes[last] ^= 1;
        });
    }),
    (
        "a vertex's entries and their root",
        &[Rule::Signature],
        |_, records| {
            let at = find(records, 20, is_vertex);
            change_bytes(&mut records[at], |bytes| bytes[ENTRIES_ROOT_AT] ^= 1);
        },
    ),
    ("a vertex's timestamp", &[Rule::Signature], |_, records| {
        let at = find(records, 20, is_vertex);
        change_bytes(&mut records[at], |bytes| bytes[TIMESTAMP_AT + 7] ^= 1);
    }),
    (
        "a vertex's first position",
        &[Rule::Signature],
        |_, records| {
            let at = find(records, 20, is_vertex);
            change_bytes(&mut records[at], |bytes| bytes[POSITION_AT + 7] ^= 1);
        },
    ),
    (
        "a vertex's settled hash",
        &[Rule::Signature],
        |_, records| {
            let at = find(records, 20, is_vertex);
            change_bytes(&mut records[at], |bytes| bytes[VERTEX_HEADER_LEN - 1] ^= 1);
        },
    ),
    ("a vertex's parents cut", &[Rule::Vertex], |_, records| {
        let at = find(records, 20, is_vertex);
        change_bytes(&mut records[at], |bytes| {
            bytes.drain(SIGNED_LEN..SIGNED_LEN + 41);
        });
    }),
    (
        "a vertex's parents cut and counted",
        &[Rule::Signature],
        |_, records| {
            let at = find(records, 20, is_vertex);
            change_bytes(&mut records[at], |bytes| {
                bytes.drain(SIGNED_LEN..SIGNED_LEN + 41);
                bytes[PARENT_COUNT_AT] -= 1;
            });
        },
    ),
    (
        "a vertex missing",
        &[Rule::Parents, Rule::Commit],
        |_, records| {
            records.remove(find(records, 20, is_vertex));
        },
    ),
    (
        "an own vertex missing",
        &[Rule::Parents, Rule::Commit],
        |_, records| {
            records.remove(find(records, 10, is_own_vertex));
        },
    ),
    (
        "a vertex before its parents",
        &[Rule::Parents],
        |_, records| {
            let vertex = records.remove(find(records, 20, is_vertex));
            records.insert(find(records, 4, is_vertex), vertex);
        },
    ),
    (
        "a vertex by another author",
        &[Rule::Signature],
        |_, records| {
            let at = find(records, 20, is_vertex);
            change_bytes(&mut records[at], |bytes| bytes[AUTHOR_AT] ^= 1);
        },
    ),
    ("a vertex cut off", &[Rule::Vertex], |_, records| {
        let at = find(records, 20, is_vertex);
        change_bytes(&mut records[at], |bytes| bytes.truncate(200));
    }),
    (
        "an own vertex's timestamp, signed again",
        &[Rule::Parents, Rule::Commit],
        |of, records| {
            let at = find(records, 10, is_own_vertex);
            resign(&of.world, &mut records[at], |draft| draft.timestamp.0 += 1);
        },
    ),
    (
        "an own vertex's first position, signed again",
        &[Rule::Parents, Rule::Commit],
        |of, records| {
            let at = find(records, 10, is_own_vertex);
            resign(&of.world, &mut records[at], |draft| {
                draft.first_position = Position(99)
            });
        },
    ),
    (
        "an own vertex's entries, signed again",
        &[Rule::Parents, Rule::Commit],
        |of, records| {
            let at = find(records, 10, is_own_vertex);
            resign(&of.world, &mut records[at], |draft| draft.entries.clear());
            let at = find(records, 11, is_own_vertex);
            resign(&of.world, &mut records[at], |draft| draft.entries.clear());
        },
    ),
    (
        "an own vertex without a quorum of parents",
        &[Rule::Vertex],
        |of, records| {
            let at = find(records, 10, is_own_vertex);
            resign(&of.world, &mut records[at], |draft| {
                draft.parents.truncate(2)
            });
        },
    ),
    (
        "a second own vertex in a round",
        &[Rule::Own],
        |of, records| {
            let at = find(records, 10, is_own_vertex);
            let mut twin = records[at].clone();
            resign(&of.world, &mut twin, |draft| draft.timestamp.0 += 1);
            records.insert(at + 1, twin);
        },
    ),
    (
        "another's vertex as an own one",
        &[Rule::Own],
        |_, records| {
            let at = find(records, 20, is_vertex);
            records[at] = Record::OwnVertex(body_mut(&mut records[at]).clone());
        },
    ),
    (
        "an own vertex that names another chain of batches",
        &[Rule::Parents, Rule::Commit],
        |of, records| {
            let at = find(records, 30, is_own_vertex);
            resign(&of.world, &mut records[at], |draft| {
                draft.settled.hash.0[0] ^= 1
            });
        },
    ),
];

const REST: &[Way] = &[
    (
        "an anchor's consensus time",
        &[Rule::Commit],
        |_, records| {
            let at = find(records, 9, is_anchor);
            change_bytes(&mut records[at], |bytes| bytes[56] ^= 1);
        },
    ),
    ("an anchor's vertex", &[Rule::Commit], |_, records| {
        let at = find(records, 9, is_anchor);
        change_bytes(&mut records[at], |bytes| bytes[20] ^= 1);
    }),
    ("an anchor missing", &[Rule::Commit], |_, records| {
        records.remove(find(records, 9, is_anchor));
    }),
    (
        "an anchor before it was decided",
        &[Rule::Commit],
        |_, records| {
            let anchor = records.remove(find(records, 9, is_anchor));
            records.insert(find(records, 8, is_anchor) + 1, anchor);
        },
    ),
    ("an anchor twice", &[Rule::Commit], |_, records| {
        let at = find(records, 9, is_anchor);
        records.insert(at, records[at].clone());
    }),
    ("an anchor cut off", &[Rule::Record], |_, records| {
        let at = find(records, 9, is_anchor);
        change_bytes(&mut records[at], |bytes| bytes.truncate(7));
    }),
    (
        "an envelope's ciphertext",
        &[Rule::Envelope],
        |_, records| {
            let at = find(records, 7, is_envelope);
            change_bytes(&mut records[at], |bytes| bytes[200] ^= 1);
        },
    ),
    ("an envelope's expiry", &[Rule::Envelope], |_, records| {
        let at = find(records, 7, is_envelope);
        change_bytes(&mut records[at], |bytes| bytes[43] ^= 1);
    }),
    ("an envelope's length", &[Rule::Envelope], |_, records| {
        let at = find(records, 7, is_envelope);
        change_bytes(&mut records[at], |bytes| bytes.push(0));
    }),
    ("an envelope missing", &[Rule::Envelope], |_, records| {
        records.remove(find(records, 7, is_envelope));
    }),
    (
        "an envelope of another chain",
        &[Rule::Envelope],
        |_, records| {
            let at = find(records, 7, is_envelope);
            change_bytes(&mut records[at], |bytes| bytes[19] ^= 1);
        },
    ),
    (
        "a batch's record cut off",
        &[Rule::Record],
        |of, records| {
            let at = batch_at(records, of.seq);
            change_bytes(&mut records[at], |bytes| bytes.truncate(100));
        },
    ),
    (
        "evidence against an honest author",
        &[Rule::Evidence],
        |of, records| {
            let of_round = |round: u64| {
                let vertices = of.records.iter().filter(|record| is_vertex(record));
                let bytes = vertices.map(|record| record.body().clone());
                let mut found = bytes.filter(|bytes| {
                    let vertex = Vertex::restore(bytes, &of.world.committee).unwrap();
                    (vertex.author(), vertex.round()) == (AuthorityIndex(2), Round(round))
                });
                found.next().unwrap()
            };
            let mut bytes = vec![1, 1, 2];
            for part in [of_round(3), of_round(4)] {
                bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
                bytes.extend_from_slice(&part);
            }
            records.push(Record::Evidence(bytes.into()));
        },
    ),
];

/// Runs every way; names those that are not found, or by another rule.
fn assert_found(ways: &[Way]) {
    let recording = Recording::make();
    let known = recording.known();
    known.verify(&recording.records).unwrap();
    // Whoever looks at several journals does not check again what holds in one of them; he finds the same.
    let seen = Seen::default();
    let other = &recording.world.nodes[1].journal;
    let of_other = Known::of(&recording.world, 1);
    of_other.verify_beside(&seen, other).unwrap();
    let beside = known.verify_beside(&seen, &recording.records).unwrap();
    assert_eq!(beside, known.verify(&recording.records).unwrap());
    let mut missed = Vec::new();
    for (name, rules, tamper) in ways {
        let mut records = recording.records.clone();
        tamper(&recording, &mut records);
        assert_ne!(records, recording.records, "{name}: nothing is changed");
        let found = known.verify(&records);
        assert_eq!(known.verify_beside(&seen, &records), found, "{name}");
        match found {
            Err(fault) if rules.contains(&fault.rule) => {}
            Err(fault) => missed.push(format!("{name}: by another rule, {fault:?}")),
            Ok(_) => missed.push(format!("{name}: not at all")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn whoever_tampers_with_batches_is_found() {
    assert_found(BATCHES);
}

#[test]
fn whoever_changes_a_header_and_all_hashes_behind_it_is_found() {
    assert_found(HEADERS);
}

#[test]
fn whoever_tampers_with_vertices_is_found() {
    assert_found(VERTICES);
}

#[test]
fn whoever_tampers_with_anchors_envelopes_and_evidence_is_found() {
    assert_found(REST);
}

#[test]
fn the_batch_and_the_entry_are_named() {
    let recording = Recording::make();
    let mut records = recording.records.clone();
    change_batch(&mut records, recording.seq, |batch| {
        if let Outcome::Revealed { r, .. } = &mut batch.entries[2].outcome {
            r[0] ^= 1;
        }
    });
    let fault = recording.known().verify(&records).unwrap_err();
    let Fault {
        rule,
        record,
        seq,
        entry,
        ..
    } = fault;
    assert_eq!((rule, seq.unwrap().0), (Rule::Reveal, recording.seq));
    assert_eq!(entry, Some(2));
    assert_eq!(record, batch_at(&records, recording.seq) as u64);
}

#[test]
fn the_records_of_another_committee_are_found() {
    let recording = Recording::make();
    let of = &recording.world.committee;
    let with = |chain: u64, first_key: u8| {
        let keys = (first_key..first_key + 4).map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let keys = keys.map(|key| key.verifying_key()).collect();
        let (parameters, rollups) = (of.parameters, of.rollups.clone());
        let start: TimestampUs = of.epoch_start;
        Committee::new(ChainId(chain), of.epoch, start, parameters, rollups, keys).unwrap()
    };
    for (committee, rule) in [(with(2, 1), Rule::Envelope), (with(1, 2), Rule::Signature)] {
        let mut known = recording.known();
        known.committee = committee.into();
        let fault = known.verify(&recording.records).unwrap_err();
        assert_eq!(fault.rule, rule, "{fault}");
    }
    let mut known = recording.known();
    known.own = AuthorityIndex(1);
    let fault = known.verify(&recording.records).unwrap_err();
    assert_eq!(fault.rule, Rule::Own, "{fault}");
}

const fn is_anchor(record: &Record) -> bool {
    matches!(record, Record::Anchor(_))
}

const fn is_envelope(record: &Record) -> bool {
    matches!(record, Record::Envelope(_))
}

/// A vertex that lists something.
fn listing(of: &Recording, records: &[Record]) -> usize {
    find(records, 3, |record| {
        is_vertex(record) && {
            let vertex = Vertex::restore(record.body(), &of.world.committee).unwrap();
            !vertex.entries().is_empty()
        }
    })
}

fn invented() -> BatchEntry {
    BatchEntry {
        digest: [0xab; 32],
        rollup_id: crate::common::ROLLUP.0,
        outcome: Outcome::Void,
    }
}

/// Swaps two entries with payloads of one length; ranges go on ascending.
fn swap(batch: &mut Batch, one: usize, other: usize) {
    let ranges = [one, other].map(|index| batch.range(index));
    let payloads = ranges.clone().map(|range| batch.payload[range].to_vec());
    batch.payload[ranges[0].clone()].copy_from_slice(&payloads[1]);
    batch.payload[ranges[1].clone()].copy_from_slice(&payloads[0]);
    batch.entries.swap(one, other);
    for (index, range) in [one, other].into_iter().zip(ranges) {
        if let Outcome::Revealed { offset, .. } = &mut batch.entries[index].outcome {
            *offset = range.start as u32;
        }
    }
}

fn make_void(batch: &mut Batch, index: usize) {
    let range = batch.range(index);
    batch.payload[range].fill(0);
    batch.entries[index].outcome = Outcome::Void;
}

fn change_share(record: &mut Record, change: impl FnOnce(&mut ShareMessage)) {
    let mut message = ShareMessage::decode(record.body()).unwrap();
    change(&mut message);
    *body_mut(record) = message.encode().into();
}

/// Offsets in a vertex: see the engine's `dag/header.rs`.
const AUTHOR_AT: usize = 21;
const TIMESTAMP_AT: usize = 22;
const POSITION_AT: usize = 30;
const ENTRIES_ROOT_AT: usize = 42;
const PARENT_COUNT_AT: usize = 74;
const VERTEX_HEADER_LEN: usize = 147;
const SIGNED_LEN: usize = 211;
