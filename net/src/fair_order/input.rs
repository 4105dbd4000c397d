//! The file that `fair-order` reads: strict, and every refusal names its line.
//!
//! `{"n":5,"f":1,"deferral_cap":64,"anchors":[{"seed":"64 hex digits","append":[["id",...], ...n lists]}, ...]}`.
//! The file is held whole and cut into raw values first, so that fields may stand in any order and whatever is wrong
//! with one is found at its place in the text.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use fairlane_engine::fair::{FairParams, FairParamsError};
use fairlane_engine::types::{AuthorityIndex, Entry};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ids::{Ids, Unlistable};

/// Reads the text of a file. Errors: it cannot be read, is longer than [`INPUT_LEN_MAX`], or is no UTF-8.
pub fn read(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(INPUT_LEN_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
    anyhow::ensure!(
        bytes.len() as u64 <= INPUT_LEN_MAX,
        "{} is longer than {} MiB, the most that is read",
        path.display(),
        INPUT_LEN_MAX >> 20
    );
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        anyhow::anyhow!("{} line {line}: this is not UTF-8", path.display())
    })
}

/// What is wrong with a file, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// From 1.
    pub line: usize,
    /// A sentence.
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// A file whose parameters hold; its anchors are read one by one.
#[derive(Debug)]
pub struct Input<'a> {
    /// n, f and D.
    pub params: FairParams,
    place: Place<'a>,
    anchors: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText<'a> {
    #[serde(borrow)]
    n: &'a RawValue,
    #[serde(borrow)]
    f: &'a RawValue,
    #[serde(borrow)]
    deferral_cap: &'a RawValue,
    #[serde(borrow)]
    anchors: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorText<'a> {
    #[serde(borrow)]
    seed: &'a RawValue,
    #[serde(borrow)]
    append: &'a RawValue,
}

impl<'a> Input<'a> {
    /// Reads the parameters and finds the anchors. Errors: no such JSON, or parameters that cannot be.
    pub fn parse(text: &'a str) -> Result<Self, Refused> {
        let place = Place { text };
        let file: FileText<'_> = place.object(text)?;
        let n = place.integer("n", file.n)?;
        let f = place.integer("f", file.f)?;
        let deferral_cap = place.integer("deferral_cap", file.deferral_cap)?;
        if deferral_cap == 0 {
            return Err(place.refused(file.deferral_cap, "deferral_cap is at least 1"));
        }
        let params = FairParams::new(n, f, deferral_cap).map_err(|error| {
            let (at, reason) = match error {
                FairParamsError::Size(_) => (file.n, error.to_string()),
                FairParamsError::Faulty { .. } => (file.f, format!("{error}, for n is {n}")),
            };
            place.refused(at, reason)
        })?;
        Ok(Self {
            params,
            place,
            anchors: place.value(file.anchors.get())?,
        })
    }

    /// How many anchors there are.
    pub fn anchor_count(&self) -> usize {
        self.anchors.len()
    }

    /// The anchors in order, not read yet.
    pub fn anchors(&self) -> impl Iterator<Item = RawAnchor<'a>> {
        self.anchors.iter().map(|raw| RawAnchor {
            params: self.params,
            place: self.place,
            raw,
        })
    }
}

/// An anchor that is not read yet.
#[derive(Clone, Copy, Debug)]
pub struct RawAnchor<'a> {
    params: FairParams,
    place: Place<'a>,
    raw: &'a RawValue,
}

/// What an anchor adds.
#[derive(Clone, Debug)]
pub struct AnchorInput {
    /// Keys the hash that breaks ties.
    pub seed: [u8; 32],
    /// One list an authority.
    pub appends: Vec<Vec<Entry>>,
}

impl RawAnchor<'_> {
    /// Reads it into `ids`, where `pending` of them wait already. Errors: the first thing that is wrong with it.
    pub fn read(&self, ids: &mut Ids, pending: usize) -> Result<AnchorInput, Refused> {
        let place = self.place;
        let anchor: AnchorText<'_> = place.object(self.raw.get())?;
        let mut seed = [0; 32];
        if hex::decode_to_slice(place.string("the seed", anchor.seed)?, &mut seed).is_err() {
            return Err(place.refused(anchor.seed, "a seed is 64 hex digits"));
        }
        let lists: Vec<&RawValue> = place.value(anchor.append.get())?;
        let n = self.params.authorities() as usize;
        if lists.len() != n {
            let reason = format!("append has {} lists and n is {n}", lists.len());
            return Err(place.refused(anchor.append, reason));
        }
        let ids_before = ids.len();
        let mut appends = Vec::with_capacity(n);
        for (authority, list) in (0..).map(AuthorityIndex).zip(lists) {
            let mut entries = Vec::new();
            for raw in place.value::<Vec<&RawValue>>(list.get())? {
                let text = place.string("an id", raw)?;
                let short = shortened(&text);
                let entry = ids
                    .list(text, authority)
                    .map_err(|why| place.refused(raw, unlistable_text(&short, authority, &why)))?;
                if pending + ids.len() - ids_before > IDS_PENDING_MAX {
                    let reason = format!("more than {IDS_PENDING_MAX} ids wait to be ordered");
                    return Err(place.refused(raw, reason));
                }
                entries.push(entry);
            }
            appends.push(entries);
        }
        Ok(AnchorInput { seed, appends })
    }
}

fn unlistable_text(id: &str, authority: AuthorityIndex, why: &Unlistable) -> String {
    match why {
        Unlistable::Again => format!(
            "authority {} (the first is 0) lists {id} a second time",
            authority.0
        ),
        Unlistable::SameDigest(other) => {
            format!("{id} and {} stand for the same digest", shortened(other))
        }
    }
}

/// An id as a message shows it: quoted, and cut where it is long.
fn shortened(id: &str) -> String {
    match id.char_indices().nth(SHOWN_CHARS) {
        None => format!("{id:?}"),
        Some((at, _)) => format!("{:?}...", &id[..at]),
    }
}

/// Finds the line of any part of a text.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    text: &'a str,
}

impl<'a> Place<'a> {
    /// Refuses for what stands at `raw`, a part of the text.
    fn refused(&self, raw: &RawValue, reason: impl Into<String>) -> Refused {
        Refused {
            line: self.line(raw.get()),
            reason: reason.into(),
        }
    }

    /// The line that `part`, a part of the text, begins in.
    fn line(&self, part: &str) -> usize {
        let offset = part.as_ptr().addr() - self.text.as_ptr().addr();
        1 + self.text[..offset].matches('\n').count()
    }

    /// Reads `part` as an object; a list would pass for one otherwise.
    fn object<T: Deserialize<'a>>(&self, part: &'a str) -> Result<T, Refused> {
        let value = self.value(part)?;
        match part.trim_start().starts_with('{') {
            true => Ok(value),
            false => Err(Refused {
                line: self.line(part.trim_start()),
                reason: "expected an object, {...}".into(),
            }),
        }
    }

    /// Reads `part` of the text. Errors: whatever the parser says, at its line of the whole text.
    fn value<T: Deserialize<'a>>(&self, part: &'a str) -> Result<T, Refused> {
        serde_json::from_str(part).map_err(|error| {
            let said = error.to_string();
            let reason = said.rsplit_once(" at line ").map_or(&*said, |(why, _)| why);
            Refused {
                line: self.line(part) + error.line().max(1) - 1,
                reason: reason.into(),
            }
        })
    }

    fn integer(&self, name: &str, raw: &'a RawValue) -> Result<u32, Refused> {
        let wrong = |_| {
            let reason = format!("{name} is an integer from 0 to {}, not {}", u32::MAX, {
                shortened(raw.get())
            });
            self.refused(raw, reason)
        };
        serde_json::from_str(raw.get()).map_err(wrong)
    }

    fn string(&self, what: &str, raw: &'a RawValue) -> Result<String, Refused> {
        let wrong = |_| {
            let reason = format!("{what} is a string, not {}", shortened(raw.get()));
            self.refused(raw, reason)
        };
        serde_json::from_str(raw.get()).map_err(wrong)
    }
}

/// Bytes of a file that are read at most.
pub const INPUT_LEN_MAX: u64 = 256 << 20;

/// Ids that may wait at one anchor: relating them takes up to their number squared in time and memory.
pub const IDS_PENDING_MAX: usize = 1 << 15;

/// Characters of an id that a message shows.
const SHOWN_CHARS: usize = 80;
