//! A committee key that nobody ever holds whole: distributed key generation over an ordered log.
//!
//! Joint-Feldman (Pedersen, A Threshold Cryptosystem without a Trusted Party, EUROCRYPT 1991): every authority deals a
//! random secret by Feldman's verifiable secret sharing (FOCS 1987), and the key is the sum of the secrets of those who
//! dealt well, the *qualified*. The result has the very types of the dealer in [`crate::seal::deal`].
//!
//! The log orders four messages. A *deal*: commitments to a polynomial of degree t - 1, one encrypted share an
//! authority, and a proof of knowledge. A *complaint*: the author's share of a deal does not fit its commitments; it
//! publishes the Diffie-Hellman value of that share with a proof of its correctness (DLEQ: Chaum and Pedersen, CRYPTO
//! 1992), so everybody decrypts the share, looks, and decides alike, without an answer from the dealer. The idea is
//! ETHDKG's (Schindler et al., Distributed Key Generation with Ethereum Smart Contracts, eprint 2019/985; before it
//! Fouque and Stern, PKC 2001). An *acknowledgement*: the author holds good shares of these dealers. An
//! *assurance*: the share of one who has not acknowledged once more, verifiably encrypted (Camenisch and Damgaard, ASIACRYPT 2000).
//!
//! Departs from the papers:
//! - No synchronous rounds: the log is the broadcast channel, and time is counted in anchors ([`machine`]).
//! - A deal carries a fresh Diffie-Hellman point R = r g, and share j is masked with a hash of r E_j = e_j R. ETHDKG uses
//!   static keys on both sides, so a complaint gives away a value that other deals rest on; here it gives away one share
//!   of one deal. The dealer proves that it knows r (and its secret), bound to session and dealer: otherwise it could
//!   copy the R of another deal, get a complaint about its own, and read from it the share that the other deal sent there.
//! - A share is masked by adding a hashed scalar: every ciphertext decrypts to a scalar, so the commitments alone decide
//!   whether it is good, and there is no second way of being malformed.
//! - Qualified are the first q good deals of which all have their shares, not all: q - f >= f + 1 of them are by correct
//!   dealers, which blindness needs, and nobody waits for the f that may never deal.
//! - To the slope of the sum a hash of the qualified deals is added (the `ending` module): who deals last could else deal so that
//!   somebody's shares add up to 0, for which there is no verification share, and stop every generation.
//!
//! The key of an authority. E_j = e_j g is a key of its own ([`keys::EncryptionKey`]), beside its Ed25519 key, not derived
//! from it: signing and decrypting with one secret needs a joint proof that nobody has written for this pair, an Ed25519
//! key is a point of another group with a cofactor, and a signing key may live where no Diffie-Hellman can be computed.
//! It needs no proof of possession: who does not know e_j can neither read nor complain, and harms nobody else. Equal keys
//! of two authorities are refused as a mistake.
//!
//! Bias. The faulty deal last and choose which of their deals are refuted, so the key is not uniform (Gennaro, Jarecki,
//! Krawczyk and Rabin, Secure Distributed Key Generation for Discrete-Log Based Cryptosystems, J. Cryptology 2007). It
//! does not hurt here: each qualified secret is proven known, so X = Y + delta g where Y is the sum of the correct dealers' part
//! and the adversary knows delta. Who computes or tells D = rX from random for X does so for Y, since rX = rY + delta rg
//! and rg stands in the envelope; Y is uniform, up to a choice among as many as there are sets of q dealers. TDH2 rests on
//! just that. (Gurkan et al., Aggregatable Distributed Key Generation, EUROCRYPT 2021, call such a key generation
//! key-expressable and encryption of this kind rekeyable.)
//!
//! Limits. Static corruption, as everywhere. Without forward secrecy against the theft of e_j: who has the log and e_j has the
//! shares of all its keys; replace E_j in the committee file to end that.
//!
//! Away. An authority that is away for the whole window of complaints may have been dealt a bad share meanwhile. It gets a good one
//! from the log all the same: a deal counts only when everybody has acknowledged it or was *assured* of its share, by the
//! dealer, with a proof that all check ([`assurance`]). So every authority that keeps the rules has its share of each key,
//! however long it was away. This must be so before the key is in force. t may be q, all that are correct if f are not; if one
//! of these lacked its share of a deal, only q - 1 others could speak up for it afterwards, and the dealer, who would
//! have to, is the adversary's. (Nor may less than t be enough to mend a deal: they could open the key, too.) The
//! price: while somebody is away, q dealers that did not start again since they dealt must be there, or the old key stays.
//!
//! Invariants:
//! - I1 what is decided is a function of the session and of the ordered messages and anchors, the same for all, members or not.
//! - I2 secrets (e_j, r, polynomials, shares) meet constant-time operations only, are erased, never printed.
//! - I3 whatever is in a message, handling it ends in a state or in a [`Fault`]: no panic, and no memory beyond
//!   one deal and n assurances, both of bounded length, an authority.

mod assurance;
pub mod complaint;
pub mod deal;
mod ending;
pub mod keys;
pub mod machine;
pub mod message;
pub mod outcome;
pub mod plan;
mod resume;
pub mod session;
mod speech;

pub use keys::{DecryptionKey, EncryptionKey};
pub use machine::Generation;
pub use message::MESSAGE_LEN_MAX;
pub use outcome::{Failure, Fault, Generated, Outcome, Taken};
pub use plan::KeyPlan;
pub use session::{Session, SessionError, WINDOW_ANCHORS};

#[cfg(test)]
mod assurance_tests;
#[cfg(test)]
mod frost_tests;
#[cfg(test)]
mod laws_tests;
#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod trial;
