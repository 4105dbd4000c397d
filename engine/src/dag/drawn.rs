//! DAGs drawn in text, for tests.
//!
//! Statements are separated by `;` or newlines. Each draws one vertex or, with several letters, one each:
//!
//! - `A1`: author A (authority 0), round 1. `ABC2`: A2, B2 and C2 with the same parents.
//! - `A2'`: a second vertex in that slot; `A2''`: a third.
//! - `B2:[A1 B1 C1]`: its parents, in any order; the own one is put first. Without a list: every unprimed vertex of the
//!   round before drawn so far. Round 0 is genesis. `B3:[A2 B2 C2 + D1]` is the same list: `+` is only for the eye.
//! - `#2` lists two entries (default one), `@1500` is the timestamp in microseconds after the epoch's start (default
//!   1000 a round, one more for each prime), `^7` is the first position (default where the own parent ended), `!text` its
//!   control section (default none).
//!
//! Each vertex is signed, encoded and verified again, so whatever is drawn is valid by itself.

use std::sync::Arc;

use ed25519_dalek::SigningKey;

use crate::committee::{Committee, Parameters};
use crate::dag::{Dag, Inserted, Settled, VerifiedVertex, Vertex, VertexDraft, VertexRef};
use crate::types::{AuthorityIndex, ChainId, Digest, Entry, Epoch, Position, Round, TimestampUs};

/// A committee and the vertices drawn for it, in the order of the text.
pub(crate) struct Drawn {
    pub(crate) committee: Arc<Committee>,
    vertices: Vec<(String, VerifiedVertex)>,
}

/// When the drawn epoch starts.
pub(crate) const EPOCH_START: TimestampUs = TimestampUs(1_000_000_000);

/// A committee of `authorities` with keys of fixed bytes.
pub(crate) fn committee(authorities: u8, parameters: Parameters) -> Arc<Committee> {
    let keys = (0..authorities).map(|author| key(author).verifying_key());
    let committee = Committee::new(
        ChainId(7),
        Epoch(3),
        EPOCH_START,
        parameters,
        Vec::new(),
        keys.collect(),
    );
    Arc::new(committee.unwrap())
}

/// The signing key of an authority.
pub(crate) fn key(author: u8) -> SigningKey {
    SigningKey::from_bytes(&[author + 1; 32])
}

impl Drawn {
    /// Draws `text` for a committee of `authorities`.
    pub(crate) fn new(authorities: u8, text: &str) -> Self {
        Self::with(authorities, Parameters::default(), text)
    }

    /// Draws `text` for a committee with these parameters.
    pub(crate) fn with(authorities: u8, parameters: Parameters, text: &str) -> Self {
        let mut drawn = Self {
            committee: committee(authorities, parameters),
            vertices: Vec::new(),
        };
        for statement in text.split([';', '\n']).map(str::trim) {
            if !statement.is_empty() {
                drawn.draw(statement);
            }
        }
        drawn
    }

    /// The drawn vertices in the order of the text.
    pub(crate) fn vertices(&self) -> impl DoubleEndedIterator<Item = &VerifiedVertex> {
        self.vertices.iter().map(|(_, vertex)| vertex)
    }

    /// The vertex of that name.
    pub(crate) fn vertex(&self, name: &str) -> VerifiedVertex {
        let found = self.vertices.iter().find(|(drawn, _)| drawn == name);
        found
            .unwrap_or_else(|| panic!("{name} is not drawn"))
            .1
            .clone()
    }

    /// The reference of that name, perhaps of a genesis vertex (`A0`).
    pub(crate) fn reference(&self, name: &str) -> VertexRef {
        match parse_name(name) {
            (author, 0, 0) => crate::dag::genesis(&self.committee, AuthorityIndex(author)),
            _ => self.vertex(name).reference(),
        }
    }

    /// The references of these names, separated by spaces.
    pub(crate) fn references(&self, names: &str) -> Vec<VertexRef> {
        names
            .split_whitespace()
            .map(|name| self.reference(name))
            .collect()
    }

    /// The names of these references, separated by spaces.
    pub(crate) fn names<'a>(&self, references: impl IntoIterator<Item = &'a VertexRef>) -> String {
        let name = |reference: &VertexRef| {
            let found = self
                .vertices
                .iter()
                .find(|(_, vertex)| vertex.reference() == *reference);
            match found {
                Some((name, _)) => name.clone(),
                None => format!("{}{}", letter(reference.author.0), reference.round.0),
            }
        };
        let names: Vec<String> = references.into_iter().map(name).collect();
        names.join(" ")
    }

    /// An empty store for this committee.
    pub(crate) fn empty_dag(&self) -> Dag {
        Dag::new(self.committee.clone())
    }

    /// A store with all vertices, inserted in the order of the text. Panics when one is not accepted at once.
    pub(crate) fn dag(&self) -> Dag {
        let mut dag = self.empty_dag();
        for (name, vertex) in &self.vertices {
            let inserted = dag.insert(vertex.clone());
            let accepted = Inserted::Accepted(vec![vertex.clone()]);
            assert_eq!(inserted, accepted, "{name}");
        }
        dag
    }

    fn draw(&mut self, statement: &str) {
        let (head, parents) = match statement.split_once(":[") {
            Some((head, rest)) => {
                let (parents, options) = rest.split_once(']').unwrap();
                (format!("{head} {options}"), Some(parents.to_owned()))
            }
            None => (statement.to_owned(), None),
        };
        let mut words = head.split_whitespace();
        let names = words.next().unwrap();
        let options: Vec<&str> = words.collect();
        let letters = names.find(|c: char| c.is_ascii_digit()).unwrap();
        for author in names[..letters].chars() {
            let name = format!("{author}{}", &names[letters..]);
            self.draw_one(&name, parents.as_deref(), &options);
        }
    }

    fn draw_one(&mut self, name: &str, parents: Option<&str>, options: &[&str]) {
        let (author, round, primes) = parse_name(name);
        let mut parents = match parents {
            Some(names) => self.references(&names.replace('+', " ")),
            None => self.unprimed_of(round - 1),
        };
        let own = parents.iter().position(|parent| parent.author.0 == author);
        let own = parents.remove(own.unwrap_or_else(|| panic!("{name} has no own parent")));
        parents.insert(0, own);
        let previous = self.vertices().find(|vertex| vertex.reference() == own);
        let position = previous.map_or(0, |vertex| vertex.end_position().0);
        let option = |sign: char, default: u64| -> i64 {
            let given = options.iter().find_map(|word| word.strip_prefix(sign));
            given.map_or(default as i64, |value| value.parse().unwrap())
        };
        let entries = 0..option('#', 1) as u64;
        let since_start = option('@', 1000 * round + primes);
        let draft = VertexDraft {
            chain_id: self.committee.chain_id,
            epoch: self.committee.epoch,
            round: Round(round),
            author: AuthorityIndex(author),
            timestamp: TimestampUs(EPOCH_START.0.wrapping_add_signed(since_start)),
            first_position: Position(option('^', position) as u64),
            parents,
            entries: entries.map(|index| entry(name, index)).collect(),
            settled: Settled::default(),
        };
        let control = options.iter().find_map(|word| word.strip_prefix('!'));
        let control = control.unwrap_or_default().as_bytes();
        let signed = draft.sign_with_control(&key(author), control);
        let vertex = Vertex::verify(signed.bytes(), &self.committee);
        let vertex = vertex.unwrap_or_else(|error| panic!("{name}: {error}"));
        self.vertices.push((name.to_owned(), vertex));
    }

    fn unprimed_of(&self, round: u64) -> Vec<VertexRef> {
        if round == 0 {
            let members = self.committee.thresholds().members();
            return members
                .map(|author| crate::dag::genesis(&self.committee, author))
                .collect();
        }
        self.vertices
            .iter()
            .filter(|(name, vertex)| vertex.round() == Round(round) && !name.ends_with('\''))
            .map(|(_, vertex)| vertex.reference())
            .collect()
    }
}

/// The entry that the vertex of that name lists at `index`.
pub(crate) fn entry(name: &str, index: u64) -> Entry {
    Entry {
        digest: Digest(*blake3::hash(format!("{name}/{index}").as_bytes()).as_bytes()),
        valid_until: EPOCH_START.plus_us(60_000_000),
    }
}

/// Author, round and primes of a name such as `C12'`.
fn parse_name(name: &str) -> (u8, u64, u64) {
    let author = name.as_bytes()[0] - b'A';
    let round = name[1..].trim_end_matches('\'');
    let primes = name.len() - 1 - round.len();
    (author, round.parse().unwrap(), primes as u64)
}

fn letter(author: u8) -> char {
    char::from(b'A' + author)
}
