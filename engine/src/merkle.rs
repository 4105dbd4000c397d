//! SHA-256 Merkle trees as in RFC 6962 section 2.1: leaf prefix 0x00, node prefix 0x01, no duplicated last leaf.
//!
//! Used for `entries_root` of a vertex and for `order_root` and `payload_root` of a batch header, because a contract
//! must be able to check them. The prefixes keep a node from passing as a leaf; a left-balanced split (the largest
//! power of two below the leaf count) keeps two leaf lists from sharing a root.

use sha2::{Digest as _, Sha256};

use crate::types::Sha256Hash;

/// Hash of one leaf's bytes, given in parts so that callers need not join them.
pub fn leaf_hash(parts: &[&[u8]]) -> Sha256Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    for part in parts {
        hasher.update(part);
    }
    Sha256Hash(hasher.finalize().into())
}

/// Root over leaf hashes; the empty list has the hash of the empty string, as in the RFC. O(leaves) hashes.
///
/// Works in place: `leaves` is used as scratch space and holds nothing meaningful afterwards.
pub fn root_in_place(leaves: &mut [Sha256Hash]) -> Sha256Hash {
    if leaves.is_empty() {
        return Sha256Hash(Sha256::digest([]).into());
    }
    // Pairing neighbours level by level and carrying an odd last node up unchanged gives the RFC's split at the
    // largest power of two, without recursion.
    let mut len = leaves.len();
    while len > 1 {
        for pair in 0..len / 2 {
            leaves[pair] = node_hash(leaves[2 * pair], leaves[2 * pair + 1]);
        }
        if len % 2 == 1 {
            leaves[len / 2] = leaves[len - 1];
        }
        len = len.div_ceil(2);
    }
    leaves[0]
}

/// The same root, of leaf hashes as they come: O(log leaves) memory on the stack, and nothing on the heap.
///
/// Panics above 2^32 leaves, which no list here comes near.
pub fn root_of(leaves: impl Iterator<Item = Sha256Hash>) -> Sha256Hash {
    // Roots of the full trees that the leaves so far make up, the largest first: one for each bit of their count.
    let mut full = [Sha256Hash::default(); PATH_LEN_MAX as usize];
    let (mut len, mut count) = (0, 0u32);
    for leaf in leaves {
        let mut root = leaf;
        // As adding one carries in the count, so two trees of one size make one of twice the size.
        for _ in 0..count.trailing_ones() {
            len -= 1;
            root = node_hash(full[len], root);
        }
        full[len] = root;
        len += 1;
        count = count.checked_add(1).expect("fewer than 2^32 leaves");
    }
    let mut roots = full[..len].iter().rev();
    let Some(smallest) = roots.next() else {
        return root_in_place(&mut []);
    };
    roots.fold(*smallest, |right, left| node_hash(*left, right))
}

/// All levels of a tree, kept so that many paths cost O(log leaves) each after one O(leaves) build.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Leaves first, the root's level last; never empty, and only the first level may be.
    levels: Vec<Vec<Sha256Hash>>,
}

impl Tree {
    /// Builds the tree over leaf hashes.
    pub fn new(leaves: Vec<Sha256Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below
                .chunks(2)
                .map(|pair| {
                    if let [l, r] = pair {
                        node_hash(*l, *r)
                    } else {
                        pair[0]
                    }
                })
                .collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// The root, equal to [`root_in_place`] of the same leaves.
    pub fn root(&self) -> Sha256Hash {
        match self.levels.last().and_then(|level| level.first()) {
            Some(root) => *root,
            None => root_in_place(&mut []),
        }
    }

    /// The sibling hashes from leaf `index` up to the root, lowest first; at most [`PATH_LEN_MAX`].
    ///
    /// Panics when `index` is not below the leaf count: callers ask for leaves they put in.
    pub fn path(&self, index: usize) -> Vec<Sha256Hash> {
        assert!(
            index < self.levels[0].len(),
            "a path is asked for a leaf of the tree"
        );
        let levels = self.levels.iter().enumerate();
        levels
            .filter_map(|(height, level)| level.get((index >> height) ^ 1).copied())
            .collect()
    }
}

/// Whether `siblings` lead from `leaf` at `index` of `count` leaves to `root`.
pub fn verify_path(
    leaf: Sha256Hash,
    index: u64,
    count: u64,
    siblings: &[Sha256Hash],
    root: Sha256Hash,
) -> bool {
    if index >= count {
        return false;
    }
    let (mut hash, mut at, mut len) = (leaf, index, count);
    let mut rest = siblings.iter();
    while len > 1 {
        if at ^ 1 < len {
            let Some(sibling) = rest.next() else {
                return false;
            };
            hash = if at % 2 == 0 {
                node_hash(hash, *sibling)
            } else {
                node_hash(*sibling, hash)
            };
        }
        at /= 2;
        len = len.div_ceil(2);
    }
    rest.next().is_none() && hash == root
}

/// Longest path in a tree of at most 2^32 leaves.
pub const PATH_LEN_MAX: u32 = 32;

fn node_hash(left: Sha256Hash, right: Sha256Hash) -> Sha256Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x01]);
    hasher.update(left.0);
    hasher.update(right.0);
    Sha256Hash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<Sha256Hash> {
        (0..count).map(|i| leaf_hash(&[&[i]])).collect()
    }

    #[test]
    fn leaves_one_by_one_have_the_root_of_all_at_once() {
        for count in 0..=255 {
            let all = leaves(count);
            let one_by_one = root_of(all.iter().copied());
            assert_eq!(one_by_one, root_in_place(&mut all.clone()), "{count}");
        }
    }

    /// The RFC's definition, recursive, as the oracle.
    fn rfc_root(leaves: &[Sha256Hash]) -> Sha256Hash {
        match leaves {
            [] => Sha256Hash(Sha256::digest([]).into()),
            [one] => *one,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(rfc_root(&leaves[..split]), rfc_root(&leaves[split..]))
            }
        }
    }

    #[test]
    fn root_is_the_rfc_root_and_every_path_leads_to_it() {
        for count in 0..=65u8 {
            let leaves = leaves(count);
            let root = root_in_place(&mut leaves.clone());
            assert_eq!(root, rfc_root(&leaves), "{count} leaves");
            let tree = Tree::new(leaves.clone());
            assert_eq!(tree.root(), root);
            for index in 0..leaves.len() {
                let path = tree.path(index);
                let (at, of) = (index as u64, leaves.len() as u64);
                assert!(verify_path(leaves[index], at, of, &path, root));
                assert!(!verify_path(leaves[index], at + 1, of, &path, root));
                assert!(!verify_path(root, at, of, &path, root) || of == 1);
            }
        }
    }

    #[test]
    fn a_path_too_long_or_too_short_is_refused() {
        let leaves = leaves(5);
        let root = root_in_place(&mut leaves.clone());
        let tree = Tree::new(leaves.clone());
        let mut long = tree.path(2);
        long.push(root);
        assert!(!verify_path(leaves[2], 2, 5, &long, root));
        assert!(!verify_path(leaves[2], 2, 5, &tree.path(2)[..2], root));
    }
}
