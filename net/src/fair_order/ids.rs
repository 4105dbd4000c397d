//! Which digest an id stands for.
//!
//! An id of 64 lowercase hex digits stands for those 32 bytes, so that the digests of a real run order as they did
//! there; any other id stands for the BLAKE3 hash of its UTF-8 bytes. Two ids of one digest cannot be told apart by the
//! rule: the second is refused.

use std::collections::BTreeMap;

use fairlane_engine::types::{AuthorityIndex, AuthoritySet, Digest, Entry};

use super::NEVER;

/// The ids met so far, by digest.
#[derive(Debug, Default)]
pub struct Ids {
    known: BTreeMap<Digest, Id>,
}

#[derive(Debug)]
struct Id {
    text: String,
    listed_by: AuthoritySet,
}

/// Why a listing cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlistable {
    /// This authority lists it already.
    Again,
    /// This other id stands for the same digest.
    SameDigest(String),
}

impl Ids {
    /// None met.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many were met.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none was met.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The entry of `text`, which `authority` lists.
    pub fn list(&mut self, text: String, authority: AuthorityIndex) -> Result<Entry, Unlistable> {
        let digest = digest_of(&text);
        let id = self.known.entry(digest).or_insert_with(|| Id {
            text: text.clone(),
            listed_by: AuthoritySet::EMPTY,
        });
        if id.text != text {
            return Err(Unlistable::SameDigest(id.text.clone()));
        }
        if !id.listed_by.insert(authority) {
            return Err(Unlistable::Again);
        }
        Ok(Entry {
            digest,
            valid_until: NEVER,
        })
    }

    /// The id that `entry` was made of.
    ///
    /// Panics when it was made of none: the rule emits only what was listed.
    pub fn text(&self, entry: &Entry) -> &str {
        let id = self.known.get(&entry.digest);
        &id.expect("only listed ids are ordered").text
    }
}

/// What `id` stands for: its own 32 bytes if it is 64 lowercase hex digits, else the BLAKE3 hash of its UTF-8 bytes.
pub fn digest_of(id: &str) -> Digest {
    let mut bytes = [0; 32];
    let is_hex = !id.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_hex && hex::decode_to_slice(id, &mut bytes).is_ok() {
        return Digest(bytes);
    }
    Digest(*blake3::hash(id.as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_lowercase_hex_digits_stand_for_themselves_and_all_else_is_hashed() {
        let itself = "0f".repeat(32);
        assert_eq!(digest_of(&itself), Digest([15; 32]));
        for text in [&itself[1..], &itself.to_uppercase(), "", "Zoë"] {
            assert_eq!(
                digest_of(text).0,
                *blake3::hash(text.as_bytes()).as_bytes(),
                "{text}"
            );
        }
    }

    #[test]
    fn an_authority_lists_an_id_once_and_a_digest_has_one_id() {
        let mut ids = Ids::new();
        let first = ids.list("a".into(), AuthorityIndex(0)).unwrap();
        assert_eq!(ids.list("a".into(), AuthorityIndex(1)), Ok(first));
        assert_eq!(
            ids.list("a".into(), AuthorityIndex(0)),
            Err(Unlistable::Again)
        );
        let digest = blake3::hash(b"a").to_hex().to_string();
        let refused = ids.list(digest, AuthorityIndex(2));
        assert_eq!(refused, Err(Unlistable::SameDigest("a".into())));
        assert_eq!((ids.len(), ids.text(&first)), (1, "a"));
    }
}
