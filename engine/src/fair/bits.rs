//! Sets of pending pairs as machine words, so that "who of these blocks whom" is an AND over a row.
//!
//! Indices are slots of the pending table or nodes of one step, from 0. Cost: a set of m is m / 64 words.

/// A set of indices below a fixed length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The empty set over the indices below `len`.
    pub(super) fn empty(len: usize) -> Self {
        Self {
            words: vec![0; words_for(len)],
        }
    }

    /// Makes room for indices below `len`, which is not less than before.
    pub(super) fn extend(&mut self, len: usize) {
        self.words.resize(words_for(len), 0);
    }

    /// Adds `index`.
    pub(super) fn insert(&mut self, index: usize) {
        self.words[index / 64] |= 1 << (index % 64);
    }

    /// Takes `index` out.
    pub(super) fn remove(&mut self, index: usize) {
        self.words[index / 64] &= !(1 << (index % 64));
    }

    /// Whether `index` is in the set.
    pub(super) fn contains(&self, index: usize) -> bool {
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    /// Whether `index` is in the set, which it is not when it lies outside.
    pub(super) fn has(&self, index: usize) -> bool {
        let word = self.words.get(index / 64);
        word.is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Whether nothing is in the set.
    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// How many indices are in the set.
    pub(super) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Adds all of `other`.
    pub(super) fn union(&mut self, other: &Self) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// Keeps what is in `other`.
    pub(super) fn intersect(&mut self, other: &Self) {
        for (word, kept) in self.words.iter_mut().zip(&other.words) {
            *word &= kept;
        }
    }

    /// Takes all of `other` out.
    pub(super) fn subtract(&mut self, other: &Self) {
        for (word, less) in self.words.iter_mut().zip(&other.words) {
            *word &= !less;
        }
    }

    /// The indices, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        ones(self.words.iter().copied())
    }

    /// The words, lowest index in the lowest bit of the first.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Takes the bits of `mask` out of a word.
    pub(super) fn clear(&mut self, word: usize, mask: u64) {
        self.words[word] &= !mask;
    }

    /// Adds the bits of `mask` to a word.
    pub(super) fn fill(&mut self, word: usize, mask: u64) {
        self.words[word] |= mask;
    }
}

/// The indices set in a row of words, ascending.
pub(super) fn ones(words: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
    words.enumerate().flat_map(|(at, word)| {
        let rest = std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
        rest.take_while(|word| *word != 0)
            .map(move |word| at * 64 + word.trailing_zeros() as usize)
    })
}

/// How many words hold `len` indices.
pub(super) const fn words_for(len: usize) -> usize {
    len.div_ceil(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_its_members_ascending_across_words() {
        let mut set = Bits::empty(200);
        for index in [199, 0, 64, 63, 65] {
            set.insert(index);
        }
        set.remove(64);
        assert_eq!(set.iter().collect::<Vec<_>>(), vec![0, 63, 65, 199]);
        assert_eq!(set.count(), 4);
        assert!(set.contains(199) && !set.contains(64) && !set.is_empty());
    }

    #[test]
    fn union_and_difference_are_word_by_word() {
        let (mut left, mut right) = (Bits::empty(130), Bits::empty(130));
        left.insert(1);
        right.insert(129);
        left.union(&right);
        assert_eq!(left.iter().collect::<Vec<_>>(), vec![1, 129]);
        left.subtract(&right);
        assert_eq!(left.iter().collect::<Vec<_>>(), vec![1]);
    }
}
