//! Which key to seal to: the committee file's, and after it what f + 1 authorities vouch for.
//!
//! A committee that renews its keys tells of each in a notice of every node (see [`fairlane_engine::keyring::statement`]). One
//! node could name a key of its own and read what is sealed to it, so a statement counts one vote of the authority that
//! signed it, with its key of the committee file. With f + 1 votes for the same bytes one of the voters is correct.
//!
//! Invariants:
//! - I1: the key changes only to one of a higher epoch, of this committee's chain, size and threshold, that f + 1 members
//!   signed; until then it stays.
//! - I2: one vote a member, its newest: what faulty nodes send takes a bounded room and moves nothing.
//!
//! Cost: one signature a new statement; one that was heard before is compared and passed over.

use ed25519_dalek::Signature;
use fairlane_engine::committee::Committee;
use fairlane_engine::keyring::statement::{
    KeyStatement, StatementError, StatementHead, is_signed_by,
};
use fairlane_engine::seal::SealingKey;
use fairlane_engine::types::{AuthorityIndex, Epoch};
use fairlane_engine::wire::DecodeError;

use crate::protocol::KeyNotice;

/// The key at present, and the votes for those to come.
#[derive(Debug)]
pub(crate) struct KeyBook {
    key: SealingKey,
    /// By authority: the newest statement that it signed.
    votes: Vec<Option<Vote>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Vote {
    epoch: Epoch,
    /// At most [`fairlane_engine::keyring::statement::STATEMENT_LEN_MAX`] bytes.
    statement: Box<[u8]>,
}

impl KeyBook {
    /// Begins with the committee file's key.
    pub(crate) fn new(key: SealingKey, committee: &Committee) -> Self {
        let members = committee.thresholds().authorities() as usize;
        Self {
            key,
            votes: vec![None; members],
        }
    }

    /// The key to seal to.
    pub(crate) const fn key(&self) -> &SealingKey {
        &self.key
    }

    /// Counts what the node of `author` says; gives the statement by which the key changes.
    ///
    /// Errors: why it is no vote. The node is faulty then.
    pub(crate) fn take(
        &mut self,
        author: AuthorityIndex,
        notice: KeyNotice<'_>,
        committee: &Committee,
    ) -> Result<Option<KeyStatement>, KeyRefused> {
        let head = StatementHead::of(notice.statement)?;
        let plan = committee.key_plan().ok_or(KeyRefused::Kept)?;
        let is_ours = head.chain_id == committee.chain_id
            && head.authorities == committee.thresholds().authorities()
            && head.threshold == plan.threshold;
        if !is_ours {
            return Err(KeyRefused::Committee);
        }
        let own = self.votes.get_mut(author.as_usize());
        let own = own.ok_or(KeyRefused::Signature)?;
        let is_said = |vote: &Vote| *vote.statement == *notice.statement;
        if head.epoch <= self.key.epoch() || own.as_ref().is_some_and(is_said) {
            return Ok(None);
        }
        let signature = Signature::from_bytes(notice.signature);
        if !is_signed_by(notice.statement, committee, author, &signature) {
            return Err(KeyRefused::Signature);
        }
        // What was said before a connection broke does not take back what was said of a later key.
        if own.as_ref().is_some_and(|before| before.epoch > head.epoch) {
            return Ok(None);
        }
        *own = Some(Vote {
            epoch: head.epoch,
            statement: notice.statement.into(),
        });
        let votes = self.votes.iter().flatten();
        let agreeing = votes.filter(|vote| is_said(vote)).count();
        if agreeing < committee.thresholds().validity() as usize {
            return Ok(None);
        }
        let statement = KeyStatement::decode(notice.statement)?;
        self.key = statement.key.clone();
        Ok(Some(statement))
    }
}

/// Why what a node says of a key counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    /// Not a statement.
    #[error("key: {0}")]
    Statement(#[from] StatementError),
    /// The committee file says nothing of further keys.
    #[error("a further key of a committee that keeps the one of its file")]
    Kept,
    /// Another chain, size or threshold.
    #[error("a key of another committee")]
    Committee,
    /// Not signed by the authority whose node sent it.
    #[error("a key without its authority's signature")]
    Signature,
}

impl From<DecodeError> for KeyRefused {
    fn from(error: DecodeError) -> Self {
        Self::Statement(error.into())
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use fairlane_engine::committee::Parameters;
    use fairlane_engine::dkg::{DecryptionKey, KeyPlan};
    use fairlane_engine::keyring::statement::sign_statement;
    use fairlane_engine::seal::deal;
    use fairlane_engine::types::{ChainId, TimestampUs};

    use super::*;

    const CHAIN: ChainId = ChainId(7);

    fn signer(index: u8) -> SigningKey {
        SigningKey::from_bytes(&[index + 1; 32])
    }

    fn committee(n: u8) -> Committee {
        let keys = (0..n).map(|index| signer(index).verifying_key());
        let (start, parameters) = (TimestampUs(1), Parameters::default());
        let committee =
            Committee::new(CHAIN, Epoch(0), start, parameters, vec![], keys.collect()).unwrap();
        let public = |index: u8| DecryptionKey::generate(&[index; 32]).public();
        let plan = KeyPlan {
            encryption_keys: (0..n).map(public).collect(),
            threshold: committee.thresholds().quorum(),
            window_anchors: 8,
            renew_us: Some(1),
        };
        committee.with_key_plan(plan).unwrap()
    }

    fn key(n: u8, epoch: u32, seed: u8) -> SealingKey {
        let t = committee(n).thresholds().quorum();
        deal(CHAIN, Epoch(epoch), n.into(), t, &[seed; 32])
            .unwrap()
            .0
    }

    fn statement(key: &SealingKey) -> Vec<u8> {
        let since = TimestampUs(9);
        let key = key.clone();
        KeyStatement { since, key }.encode()
    }

    /// What the node of `from` says, signed by `signer`.
    fn say(
        book: &mut KeyBook,
        committee: &Committee,
        (from, by): (u8, u8),
        statement: &[u8],
    ) -> Result<Option<Epoch>, KeyRefused> {
        let signature = sign_statement(statement, &signer(by)).to_bytes();
        let notice = KeyNotice {
            signature: &signature,
            statement,
        };
        let taken = book.take(AuthorityIndex(from), notice, committee)?;
        Ok(taken.map(|statement| statement.key.epoch()))
    }

    #[test]
    fn a_key_is_taken_once_f_plus_one_members_have_signed_it_and_not_before() {
        for (n, f) in [(1u8, 0u8), (4, 1), (7, 2)] {
            let (committee, first, next) = (committee(n), key(n, 1, 1), key(n, 2, 2));
            let mut book = KeyBook::new(first.clone(), &committee);
            let bytes = statement(&next);
            for from in 0..f {
                for _ in 0..3 {
                    assert_eq!(say(&mut book, &committee, (from, from), &bytes), Ok(None));
                }
                assert_eq!(*book.key(), first, "{} of {n} vouch", from + 1);
            }
            let last = say(&mut book, &committee, (f, f), &bytes);
            assert_eq!(last, Ok(Some(Epoch(2))));
            assert_eq!(*book.key(), next);
            // The others say the same later, and that is no news.
            let again = say(&mut book, &committee, (n - 1, n - 1), &bytes);
            assert_eq!(again, Ok(None));
        }
    }

    #[test]
    fn f_liars_with_a_key_of_their_own_move_nothing_and_keep_no_true_key_away() {
        let (committee, first) = (committee(7), key(7, 1, 1));
        let mut book = KeyBook::new(first.clone(), &committee);
        let own = statement(&key(7, 2, 66));
        let highest = statement(&key(7, u32::MAX, 66));
        for liar in [5, 6] {
            assert_eq!(say(&mut book, &committee, (liar, liar), &own), Ok(None));
            assert_eq!(say(&mut book, &committee, (liar, liar), &highest), Ok(None));
            // One more voice that it has not: another's name, and another's link.
            let forged = say(&mut book, &committee, (4, liar), &own);
            assert_eq!(forged, Err(KeyRefused::Signature));
            let forged = say(&mut book, &committee, (liar, 4), &own);
            assert_eq!(forged, Err(KeyRefused::Signature));
        }
        let nobody = say(&mut book, &committee, (9, 9), &own);
        assert_eq!(nobody, Err(KeyRefused::Signature));
        assert_eq!(*book.key(), first);
        let true_one = key(7, 2, 2);
        let bytes = statement(&true_one);
        for from in 0..3 {
            let _ = say(&mut book, &committee, (from, from), &bytes).unwrap();
        }
        assert_eq!(*book.key(), true_one);
    }

    #[test]
    fn votes_for_different_bytes_do_not_add_up() {
        let (committee, first) = (committee(4), key(4, 1, 1));
        let mut book = KeyBook::new(first.clone(), &committee);
        let next = key(4, 2, 2);
        let since = TimestampUs(10);
        let later = KeyStatement {
            since,
            key: next.clone(),
        };
        let ones = [statement(&next), later.encode(), statement(&key(4, 3, 2))];
        for (from, bytes) in (0..).zip(&ones) {
            assert_eq!(say(&mut book, &committee, (from, from), bytes), Ok(None));
        }
        assert_eq!(*book.key(), first);
    }

    #[test]
    fn an_older_key_another_committees_and_any_where_the_key_is_kept_are_not_taken() {
        let (committee, first) = (committee(4), key(4, 2, 1));
        let mut book = KeyBook::new(first.clone(), &committee);
        for epoch in [1, 2] {
            let bytes = statement(&key(4, epoch, 9));
            for from in 0..4 {
                assert_eq!(say(&mut book, &committee, (from, from), &bytes), Ok(None));
            }
        }
        let (other, _) = deal(ChainId(8), Epoch(3), 4, 3, &[1; 32]).unwrap();
        let (loose, _) = deal(CHAIN, Epoch(3), 4, 2, &[1; 32]).unwrap();
        for foreign in [other, loose, key(7, 3, 1)] {
            let refused = say(&mut book, &committee, (0, 0), &statement(&foreign));
            assert_eq!(refused, Err(KeyRefused::Committee));
        }
        let kept = {
            let keys = (0..4).map(|index| signer(index).verifying_key());
            let (start, parameters) = (TimestampUs(1), Parameters::default());
            Committee::new(CHAIN, Epoch(0), start, parameters, vec![], keys.collect()).unwrap()
        };
        let bytes = statement(&key(4, 3, 2));
        let refused = say(&mut book, &kept, (0, 0), &bytes);
        assert_eq!(refused, Err(KeyRefused::Kept));
        assert_eq!(*book.key(), first);
    }
}
