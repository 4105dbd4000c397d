//! One authority's reveal stage, a batch, and whatever peers and clients make of it.

use std::sync::{Arc, OnceLock};

use curve25519_dalek::scalar::Scalar;
use fairlane_engine::batch::archive::{Outcome, order_root, validate};
use fairlane_engine::reveal::plan::BatchPlan;
use fairlane_engine::reveal::{Reveal, RevealKeys};
use fairlane_engine::seal::{
    Envelope, EnvelopeVerifier, LABEL_LEN, ShareMessage, VerifiedEnvelope, check_reveal, opened_len,
};
use fairlane_engine::types::{AuthorityIndex, BatchSeq, RollupId, Round, Sha256Hash, TimestampUs};

use crate::hostile;
use crate::recording::{START, key_share, recording, signing_key};

/// The author of the message that is fuzzed.
const LIAR: u8 = 1;
/// The authority that opens.
const OWN: u8 = 0;
/// Enough others to open without the liar.
const HONEST: [u8; 2] = [2, 3];

/// Honest envelopes, honest messages for them, and what they open to.
struct Honest {
    plan: BatchPlan,
    of_liar: ShareMessage,
    others: Vec<ShareMessage>,
    archive: Vec<u8>,
}

fn honest() -> &'static Honest {
    static HONEST_RUN: OnceLock<Honest> = OnceLock::new();
    HONEST_RUN.get_or_init(|| {
        let sealed = recording().envelopes.iter().map(|bytes| check(bytes));
        let sealed = sealed.filter(|envelope| envelope.u().is_some());
        let plan = plan(sealed.take(3).collect());
        let others: Vec<ShareMessage> = HONEST.map(|author| message(author, &plan)).to_vec();
        let archive = open(&plan, others.clone()).expect("t honest messages open a batch");
        Honest {
            of_liar: message(LIAR, &plan),
            others,
            archive,
            plan,
        }
    })
}

fn check(bytes: &[u8]) -> VerifiedEnvelope {
    let envelope = Envelope::decode(bytes.into()).expect("its structure is sound");
    let verifier = EnvelopeVerifier::new((*recording().key).clone(), [7; 32]);
    let verdict = verifier.check(vec![envelope]).remove(0);
    verdict.expect("its proof holds")
}

fn plan(envelopes: Vec<VerifiedEnvelope>) -> BatchPlan {
    BatchPlan {
        seq: BatchSeq(0),
        anchor_round: Round(2),
        time: START,
        order_root: order_root(envelopes.iter().map(|envelope| envelope.digest())),
        envelopes,
        state_root: Sha256Hash::default(),
        group_wait_cut: 0,
        cap_fired: 0,
    }
}

fn message(author: u8, plan: &BatchPlan) -> ShareMessage {
    let (share, signing, us) = (key_share(author), signing_key(author), plan.sealed_points());
    let key = &recording().key;
    let made = ShareMessage::make(&share, key, &signing, plan.seq, plan.order_root, &us);
    made.expect("an own share for a batch of allowed size").0
}

/// The archive, once these messages open the batch.
fn open(plan: &BatchPlan, messages: Vec<ShareMessage>) -> Option<Vec<u8>> {
    let keys = RevealKeys {
        sealing: recording().key.clone(),
        share: key_share(OWN),
        signing: signing_key(OWN),
        process_secret: [OWN; 32],
    };
    let committee: Arc<_> = recording().committee.clone();
    let mut reveal = Reveal::new(committee, AuthorityIndex(OWN), keys);
    reveal.start(plan.clone(), START);
    let mut bytes = rkyv::util::AlignedVec::<16>::new();
    bytes.resize(plan.archive_len_max(), 0);
    for message in messages {
        let author = message.author;
        let _ = reveal.on_share(author, Box::new(message));
        if let Some(opened) = reveal.open_next(&mut bytes) {
            return Some(bytes[..opened.archive_len].to_vec());
        }
        for evidence in reveal.take_evidence() {
            assert_eq!(
                evidence.author(),
                AuthorityIndex(LIAR),
                "only the liar is blamed"
            );
            let held = evidence.check(&recording().committee, &recording().key);
            held.expect("evidence convinces others, too");
        }
    }
    None
}

/// A message that comes before the honest ones, twice, changes nothing.
///
/// `bytes`: a first byte, then the whole message where that is even, or changes to the liar's honest one where it is odd: two
/// bytes for the place and one for what is added there. Bit 1: it is signed by the liar.
pub fn share(bytes: &[u8]) {
    let Some((mode, rest)) = bytes.split_first() else {
        return;
    };
    let honest = honest();
    let decoded = if mode & 1 == 0 {
        ShareMessage::decode(rest)
    } else {
        let mut bytes = honest.of_liar.encode();
        for change in rest.chunks_exact(3) {
            let at = (usize::from(change[0]) << 8 | usize::from(change[1])) % bytes.len();
            bytes[at] = bytes[at].wrapping_add(change[2]);
        }
        ShareMessage::decode(&bytes)
    };
    let Ok(mut message) = decoded else {
        return;
    };
    message.author = AuthorityIndex(LIAR);
    if mode & 2 == 2 {
        message = hostile::resigned(&message, &signing_key(LIAR), |_| {});
    }
    let mut messages = vec![message.clone(), message];
    messages.extend(honest.others.iter().cloned());
    assert_eq!(open(&honest.plan, messages).as_ref(), Some(&honest.archive));
}

/// Whatever a client seals under a proof that holds has one outcome, which the client's r confirms.
///
/// `bytes`: a first byte, then what stands for the ciphertext where that is even; for r and the payload, encrypted under the
/// true D, where it is odd, with the true r put in its place where bit 1 is set.
pub fn content(bytes: &[u8]) {
    let Some((mode, rest)) = bytes.split_first() else {
        return;
    };
    if !(32..512).contains(&rest.len()) {
        return;
    }
    let r = hostile::client_r(u64::from(*mode));
    let key = &recording().key;
    let label = |len: usize| hostile::sealed_label(key, RollupId(7), TimestampUs(START.0 + 1), len);
    let sealed = if mode & 1 == 0 {
        let Some(payload_len) = rest.len().checked_sub(48) else {
            return;
        };
        hostile::proven(&label(payload_len), r, rest)
    } else {
        let mut content = rest.to_vec();
        if mode & 2 == 2 {
            content[..32].copy_from_slice(r.as_bytes());
        }
        let label = label(content.len() - 32);
        let d = key.committee_key().point() * r;
        hostile::proven(&label, r, &hostile::encrypted(&label, &r, &d, &content))
    };
    assert!(sealed.len() > LABEL_LEN);
    judge(&sealed, &r);
}

fn judge(sealed: &[u8], r: &Scalar) {
    let envelope = check(sealed);
    let mut out = vec![0; opened_len(&envelope)];
    let confirmed = check_reveal(&recording().key, &envelope, r.as_bytes(), &mut out);
    let mut envelopes = honest().plan.envelopes[..2].to_vec();
    envelopes.insert(1, envelope);
    let plan = plan(envelopes);
    let messages = HONEST.map(|author| message(author, &plan)).to_vec();
    let archive = open(&plan, messages).expect("t honest messages open a batch");
    let view = validate(&archive).expect("what was just written is an archive");
    let revealed: Vec<bool> = view
        .entries()
        .map(|entry| entry.outcome != Outcome::Void)
        .collect();
    assert_eq!(revealed, [true, confirmed, true]);
    if confirmed {
        let entry = view.entries().nth(1).expect("three entries");
        assert_eq!(entry.payload, &out[32..]);
    }
}
