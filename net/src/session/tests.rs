//! The laws of sessions: who gets one, and which records open.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::dkg::{DecryptionKey, KeyPlan};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch, RollupId, TimestampUs};
use proptest::prelude::*;

use super::handshake::{GREETING_LEN, Handshake, OPENING_LEN, REPLY_LEN};
use super::keys::{LINK_KEY_LEN, LinkKeys, LinkKeysError, LinkSecret};
use super::records::{RECORD_PLAIN_LEN_MAX, Session};
use super::{Fault, RECORD_HEAD_LEN, RECORD_LEN_MAX, REKEY_RECORDS, TAG_LEN};

const MEMBERS: u8 = 4;
const NONCE: [u8; 32] = [9; 32];

fn committee(chain: u64, parameters: Parameters) -> Committee {
    let keys = (0..MEMBERS).map(|index| SigningKey::from_bytes(&[index; 32]).verifying_key());
    let rollup = Rollup {
        id: RollupId(1),
        policy: RollupPolicy::Sealed,
    };
    let start = TimestampUs(1);
    let rollups = vec![rollup];
    Committee::new(
        ChainId(chain),
        Epoch(0),
        start,
        parameters,
        rollups,
        keys.collect(),
    )
    .unwrap()
}

fn secret(index: u8) -> LinkSecret {
    LinkSecret::from_bytes(&[index + 50; 32])
}

fn publics() -> Vec<[u8; LINK_KEY_LEN]> {
    (0..MEMBERS).map(|index| secret(index).public()).collect()
}

fn keys_in(committee: &Committee, index: u8) -> Arc<LinkKeys> {
    let own = AuthorityIndex(index);
    Arc::new(LinkKeys::new(committee, &publics(), own, secret(index)).unwrap())
}

/// The committee that [`keys`] are for.
pub(crate) fn committee_of_four() -> Committee {
    committee(7, Parameters::default())
}

/// Link keys of authority `index` of four.
pub(crate) fn keys(index: u8) -> Arc<LinkKeys> {
    keys_in(&committee_of_four(), index)
}

fn feed(end: &mut Handshake, mut input: &[u8]) -> Result<(Vec<u8>, Option<Session>), Fault> {
    let mut out = Vec::new();
    let session = end.feed(&mut input, &mut out, &mut |_| true)?;
    assert!(input.is_empty());
    Ok((out, session))
}

/// What the end that accepts makes of the opening that `connects` sends to authority 2 after its greeting.
fn opening_of(connects: &Arc<LinkKeys>, nonce: [u8; 32]) -> (Handshake, Handshake, Vec<u8>) {
    let mut greeting = Vec::new();
    let accepting = Handshake::accept(keys(2), nonce, &mut greeting);
    let mut connecting = Handshake::connect(connects.clone(), AuthorityIndex(2));
    let (opening, _) = feed(&mut connecting, &greeting).unwrap();
    (accepting, connecting, opening)
}

/// A session of authorities 0, which connects, and 2.
fn pair() -> (Session, Session) {
    let (mut accepting, mut connecting, opening) = opening_of(&keys(0), NONCE);
    let (reply, accepted) = feed(&mut accepting, &opening).unwrap();
    let (nothing, connected) = feed(&mut connecting, &reply).unwrap();
    assert!(nothing.is_empty());
    (connected.unwrap(), accepted.unwrap())
}

fn sealed(session: &mut Session, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    session.seal(bytes, &mut out);
    out
}

/// Everything that a piece of the stream opens to.
fn open(session: &mut Session, mut input: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut opened = Vec::new();
    while let Some(plain) = session.open(&mut input)? {
        opened.extend_from_slice(plain);
    }
    assert!(input.is_empty());
    Ok(opened)
}

#[test]
fn two_authorities_get_a_session_and_know_each_other() {
    let (mut connected, mut accepted) = pair();
    assert_eq!(connected.peer(), AuthorityIndex(2));
    assert_eq!(accepted.peer(), AuthorityIndex(0));
    for bytes in [&b""[..], b"a vertex", &[7; 100_000]] {
        let there = sealed(&mut connected, bytes);
        assert_eq!(open(&mut accepted, &there).unwrap(), bytes);
        let back = sealed(&mut accepted, bytes);
        assert_eq!(open(&mut connected, &back).unwrap(), bytes);
    }
}

#[test]
fn the_messages_have_the_lengths_on_the_page_and_the_records_are_not_in_clear() {
    let (mut accepting, _, opening) = opening_of(&keys(0), NONCE);
    let (reply, _) = feed(&mut accepting, &opening).unwrap();
    assert_eq!((GREETING_LEN, OPENING_LEN, REPLY_LEN), (33, 130, 48));
    assert_eq!((opening.len(), reply.len()), (130, 48));
    let (mut connected, _) = pair();
    let record = sealed(&mut connected, &[b'x'; 64]);
    assert_eq!(record.len(), RECORD_HEAD_LEN + 64 + TAG_LEN);
    assert!(!record.windows(4).any(|window| window == b"xxxx"));
}

#[test]
fn a_handshake_that_comes_byte_by_byte_is_the_same_and_leaves_the_records_behind_it() {
    let (mut accepting, mut connecting, opening) = opening_of(&keys(0), NONCE);
    let mut reply = Vec::new();
    let mut accepted = None;
    for byte in opening {
        let (out, session) = feed(&mut accepting, &[byte]).unwrap();
        reply.extend(out);
        accepted = accepted.or(session);
    }
    let mut accepted = accepted.unwrap();
    accepted.seal(b"at once", &mut reply);
    let mut input = &reply[..];
    let session = connecting.feed(&mut input, &mut Vec::new(), &mut |_| true);
    let mut connected = session.unwrap().unwrap();
    assert_eq!(open(&mut connected, input).unwrap(), b"at once");
}

#[test]
fn an_impostor_without_the_secret_does_not_pass_the_gate() {
    // It knows all public keys, and takes authority 0's index with a secret of its own.
    let mut forged = publics();
    let impostor = LinkSecret::from_bytes(&[99; 32]);
    forged[0] = impostor.public();
    let committee = committee(7, Parameters::default());
    let keys = LinkKeys::new(&committee, &forged, AuthorityIndex(0), impostor).unwrap();
    let (mut accepting, _, opening) = opening_of(&Arc::new(keys), NONCE);
    assert_eq!(feed(&mut accepting, &opening).unwrap_err(), Fault::Gate);
    let again = feed(&mut accepting, &opening);
    assert_eq!(again.unwrap_err(), Fault::Handshake, "a fault is final");
}

#[test]
fn an_authority_with_another_ones_index_does_not_pass_the_gate() {
    let (mut accepting, _, mut opening) = opening_of(&keys(1), NONCE);
    opening[1] = 0;
    assert_eq!(feed(&mut accepting, &opening).unwrap_err(), Fault::Gate);
}

#[test]
fn an_opening_is_good_for_one_greeting() {
    let (_, _, recorded) = opening_of(&keys(0), NONCE);
    let mut accepting = Handshake::accept(keys(2), [10; 32], &mut Vec::new());
    assert_eq!(feed(&mut accepting, &recorded).unwrap_err(), Fault::Gate);
    let mut other = Handshake::accept(keys(1), NONCE, &mut Vec::new());
    assert_eq!(feed(&mut other, &recorded).unwrap_err(), Fault::Gate);
}

#[test]
fn another_chain_other_parameters_or_other_members_do_not_pass_the_gate() {
    let strict = Parameters {
        deferral_cap: 65,
        ..Parameters::default()
    };
    let plan = KeyPlan {
        encryption_keys: (0..MEMBERS)
            .map(|index| DecryptionKey::generate(&[index; 32]).public())
            .collect(),
        threshold: 3,
        window_anchors: 8,
        renew_us: None,
    };
    let made = committee_of_four().with_key_plan(plan).unwrap();
    for other in [
        committee(8, Parameters::default()),
        committee(7, strict),
        made,
    ] {
        let (mut accepting, _, opening) = opening_of(&keys_in(&other, 0), NONCE);
        assert_eq!(feed(&mut accepting, &opening).unwrap_err(), Fault::Gate);
    }
    let mut members = publics();
    members[3] = LinkSecret::from_bytes(&[77; 32]).public();
    let committee = committee(7, Parameters::default());
    let other = LinkKeys::new(&committee, &members, AuthorityIndex(0), secret(0)).unwrap();
    let (mut accepting, _, opening) = opening_of(&Arc::new(other), NONCE);
    assert_eq!(feed(&mut accepting, &opening).unwrap_err(), Fault::Gate);
}

#[test]
fn only_an_authority_with_a_lower_index_may_connect() {
    for index in [2, 3, MEMBERS, 255] {
        let (mut accepting, _, mut opening) = opening_of(&keys(0), NONCE);
        opening[1] = index;
        assert_eq!(feed(&mut accepting, &opening).unwrap_err(), Fault::Index);
    }
}

#[test]
fn another_version_is_refused_at_both_ends() {
    let (mut accepting, _, mut opening) = opening_of(&keys(0), NONCE);
    opening[0] = 2;
    assert_eq!(feed(&mut accepting, &opening).unwrap_err(), Fault::Version);
    let mut connecting = Handshake::connect(keys(0), AuthorityIndex(2));
    let greeting = [2; GREETING_LEN];
    assert_eq!(
        feed(&mut connecting, &greeting).unwrap_err(),
        Fault::Version
    );
}

#[test]
fn whoever_is_not_admitted_is_refused_behind_the_gate_and_before_the_handshake() {
    let (mut accepting, _, opening) = opening_of(&keys(1), NONCE);
    let (mut input, mut out) = (&opening[..], Vec::new());
    let mut asked = Vec::new();
    let refused = accepting.feed(&mut input, &mut out, &mut |peer| {
        asked.push(peer);
        false
    });
    assert_eq!(refused.unwrap_err(), Fault::TooOften);
    assert_eq!(asked, [AuthorityIndex(1)]);
    assert!(out.is_empty());
    let (mut accepting, _, mut opening) = opening_of(&keys(1), NONCE);
    opening[40] ^= 1;
    let mut input = &opening[..];
    let refused = accepting.feed(&mut input, &mut out, &mut |_| panic!("behind the gate"));
    assert_eq!(refused.unwrap_err(), Fault::Gate);
}

#[test]
fn an_end_that_is_not_the_authority_that_was_called_cannot_answer() {
    // Authority 3 sits at 2's address. It can compute a gate of its own with the caller, but not open message 1.
    let (_, mut connecting, _) = opening_of(&keys(0), NONCE);
    let other = [0; REPLY_LEN];
    assert_eq!(feed(&mut connecting, &other).unwrap_err(), Fault::Handshake);
    let mut greeting = Vec::new();
    let mut sits_there = Handshake::accept(keys(3), NONCE, &mut greeting);
    let mut connecting = Handshake::connect(keys(0), AuthorityIndex(2));
    let (opening, _) = feed(&mut connecting, &greeting).unwrap();
    assert_eq!(feed(&mut sits_there, &opening).unwrap_err(), Fault::Gate);
}

#[test]
fn a_key_that_is_not_ones_own_or_no_key_is_refused_at_start() {
    let committee = committee(7, Parameters::default());
    let own = AuthorityIndex(0);
    let other = LinkKeys::new(&committee, &publics(), own, secret(1));
    assert_eq!(other.unwrap_err(), LinkKeysError::NotOwn);
    for weak in [[0; 32], std::array::from_fn(|at| u8::from(at == 0))] {
        let mut members = publics();
        members[3] = weak;
        let weak = LinkKeys::new(&committee, &members, own, secret(0));
        assert_eq!(weak.unwrap_err(), LinkKeysError::Weak(AuthorityIndex(3)));
    }
}

#[test]
fn a_repeated_reordered_left_out_or_foreign_record_does_not_open_and_nothing_after_it() {
    let records = |session: &mut Session| -> Vec<Vec<u8>> {
        (0..3u8).map(|byte| sealed(session, &[byte; 20])).collect()
    };
    type Disturb = fn(&mut Vec<Vec<u8>>);
    let cases: [Disturb; 5] = [
        |stream| stream.insert(1, stream[0].clone()),
        |stream| stream.swap(0, 1),
        |stream| drop(stream.remove(0)),
        |stream| stream.insert(0, vec![0, 16].into_iter().chain([0; 16]).collect()),
        |stream| stream.insert(0, stream[2].clone()),
    ];
    for disturb in cases {
        let (mut connected, mut accepted) = pair();
        let mut stream = records(&mut connected);
        let honest = stream.clone();
        disturb(&mut stream);
        assert_eq!(open(&mut accepted, &stream.concat()), Err(Fault::Record));
        let after = open(&mut accepted, &honest.concat());
        assert_eq!(after, Err(Fault::Record), "a fault is final");
    }
    let (mut connected, mut accepted) = pair();
    let (mut other, _) = pair();
    let foreign = sealed(&mut other, b"of another session");
    assert_eq!(open(&mut accepted, &foreign), Err(Fault::Record));
    let echoed = sealed(&mut connected, b"back to its author");
    assert_eq!(open(&mut connected, &echoed), Err(Fault::Record));
}

#[test]
fn a_record_out_of_bounds_is_refused_before_its_bytes_come() {
    for len in [0, TAG_LEN - 1, RECORD_LEN_MAX + 1, usize::from(u16::MAX)] {
        let head = u16::try_from(len).unwrap().to_be_bytes();
        let (_, mut whole) = pair();
        assert_eq!(open(&mut whole, &head), Err(Fault::RecordLength), "{len}");
        let (_, mut split) = pair();
        assert_eq!(open(&mut split, &head[..1]), Ok(vec![]));
        assert_eq!(open(&mut split, &head[1..]), Err(Fault::RecordLength));
        assert!(split.held_bytes() <= RECORD_HEAD_LEN);
    }
    let (mut connected, mut accepted) = pair();
    let longest = sealed(&mut connected, &[1; RECORD_PLAIN_LEN_MAX]);
    assert_eq!(longest.len(), RECORD_HEAD_LEN + RECORD_LEN_MAX);
    assert_eq!(
        open(&mut accepted, &longest).unwrap().len(),
        RECORD_PLAIN_LEN_MAX
    );
}

#[test]
fn both_ends_replace_the_key_of_a_direction_after_the_same_record() {
    let (mut connected, mut accepted) = pair();
    for count in 0..2 * REKEY_RECORDS + 3 {
        let bytes = count.to_be_bytes();
        let there = sealed(&mut connected, &bytes);
        assert_eq!(open(&mut accepted, &there).unwrap(), bytes);
        // The other direction is slower: its key is replaced at its own count.
        if count % 3 == 0 {
            let back = sealed(&mut accepted, &bytes);
            assert_eq!(open(&mut connected, &back).unwrap(), bytes);
        }
    }
}

#[test]
fn the_first_key_opens_as_many_records_as_said_and_its_successor_the_next() {
    let (mut connected, mut accepted) = pair();
    let mut plain = [0; 1];
    // Read without replacing the key.
    let mut read = |record: &[u8]| {
        accepted
            .noise
            .read_message(&record[RECORD_HEAD_LEN..], &mut plain)
    };
    for _ in 0..REKEY_RECORDS {
        assert_eq!(read(&sealed(&mut connected, b"x")), Ok(1));
    }
    let next = sealed(&mut connected, b"x");
    assert!(read(&next).is_err());
    accepted.noise.rekey_incoming();
    assert_eq!(open(&mut accepted, &next).unwrap(), b"x");
}

#[test]
fn a_record_of_before_the_key_was_replaced_does_not_open_after() {
    let (mut connected, mut accepted) = pair();
    let last: Vec<u8> = (0..REKEY_RECORDS)
        .map(|_| sealed(&mut connected, b"x"))
        .inspect(|record| assert_eq!(open(&mut accepted, record).unwrap(), b"x"))
        .last()
        .unwrap();
    assert_eq!(open(&mut accepted, &last), Err(Fault::Record));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_of_a_stream_opens_to_the_same_bytes(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2_000), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let (mut connected, mut accepted) = pair();
        let stream: Vec<u8> = parts.iter().flat_map(|part| sealed(&mut connected, part)).collect();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let mut opened = Vec::new();
        for cut in at.windows(2) {
            opened.extend(open(&mut accepted, &stream[cut[0]..cut[1]]).unwrap());
            prop_assert!(accepted.held_bytes() < RECORD_HEAD_LEN + RECORD_LEN_MAX);
        }
        prop_assert_eq!(opened, parts.concat());
        prop_assert_eq!(accepted.held_bytes(), 0);
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_record_opens_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let (mut connected, mut accepted) = pair();
        let mut stream = sealed(&mut connected, &bytes);
        let at = at.index(stream.len());
        stream[at] ^= 1 << bit;
        // A longer length waits for what follows, and then does not hold.
        stream.extend([0; RECORD_LEN_MAX]);
        prop_assert!(open(&mut accepted, &stream).is_err());
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_handshake_gives_no_session(
        at in 0..OPENING_LEN + REPLY_LEN,
        bit in 0..8u8,
    ) {
        let (mut accepting, mut connecting, mut opening) = opening_of(&keys(0), NONCE);
        if at < OPENING_LEN {
            opening[at] ^= 1 << bit;
            prop_assert!(feed(&mut accepting, &opening).is_err());
        } else {
            let (mut reply, _) = feed(&mut accepting, &opening).unwrap();
            reply[at - OPENING_LEN] ^= 1 << bit;
            prop_assert!(feed(&mut connecting, &reply).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut accepting = Handshake::accept(keys(2), NONCE, &mut Vec::new());
        let mut input = &bytes[..];
        prop_assert!(!matches!(accepting.feed(&mut input, &mut Vec::new(), &mut |_| true), Ok(Some(_))));
        let mut connecting = Handshake::connect(keys(0), AuthorityIndex(2));
        let mut input = &bytes[..];
        prop_assert!(!matches!(connecting.feed(&mut input, &mut Vec::new(), &mut |_| true), Ok(Some(_))));
        let (_, mut accepted) = pair();
        let mut input = &bytes[..];
        prop_assert!(!matches!(accepted.open(&mut input), Ok(Some(_))));
    }
}
