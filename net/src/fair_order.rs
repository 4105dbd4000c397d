//! `fairlane fair-order`: the fair order's rule on local orders that stand in a file, for auditors and tests.
//!
//! It runs the very code that every node runs, on lists that anybody can write down. The ids of a file are names; the
//! rule breaks ties by a hash of digests, so an id stands for a digest ([`ids`]). Expiry has no part: a file names no
//! times, and whatever is not emitted stays pending.

pub mod ids;
pub mod input;

use std::io::Write;
use std::path::Path;

use fairlane_engine::fair::{Anchor, FairOrder};
use fairlane_engine::types::{Entry, TimestampUs};
use serde::Serialize;

use ids::Ids;
use input::Input;

use crate::localnet::check_json;

/// Orders what `input` lists and writes the result to `json`, or to standard output.
///
/// Errors: a file that cannot be read or means nothing (with the line), or a result that cannot be written.
pub fn run(input: &Path, json: Option<&Path>) -> anyhow::Result<()> {
    check_json(json)?;
    let text = input::read(input)?;
    let named = |refused: input::Refused| anyhow::anyhow!("{} {refused}", input.display());
    let ordered = order(&text).map_err(named)?;
    match json {
        None => ordered.write(&mut std::io::stdout().lock())?,
        Some(path) => {
            let mut bytes = Vec::new();
            ordered.write(&mut bytes)?;
            std::fs::write(path, bytes)
                .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))?;
        }
    }
    Ok(())
}

/// Puts every anchor of a file through the rule. Errors: the first thing that is wrong, and its line.
pub fn order(text: &str) -> Result<Ordered, input::Refused> {
    let input = Input::parse(text)?;
    let mut ids = Ids::new();
    let mut fair = FairOrder::new(input.params);
    let mut anchors = Vec::with_capacity(input.anchor_count());
    for anchor in input.anchors() {
        let anchor = anchor.read(&mut ids, fair.pending_len())?;
        let emission = fair.step(&Anchor {
            consensus_time: NEVER,
            tie_seed: anchor.seed,
            appends: &anchor.appends,
        });
        anchors.push(OrderedAnchor {
            groups: emission.groups,
            group_wait_cut: emission.group_wait_cut,
            cap_fired: emission.cap_fired,
        });
    }
    Ok(Ordered {
        anchors,
        pending: fair.pending().copied().collect(),
        ids,
    })
}

/// What the rule made of a file.
#[derive(Debug)]
pub struct Ordered {
    anchors: Vec<OrderedAnchor>,
    pending: Vec<Entry>,
    ids: Ids,
}

#[derive(Debug)]
struct OrderedAnchor {
    groups: Vec<Vec<Entry>>,
    group_wait_cut: u32,
    cap_fired: u32,
}

#[derive(Serialize)]
struct AnchorText<'a> {
    groups: Vec<Vec<&'a str>>,
    group_wait_cut: u32,
    cap_fired: u32,
}

impl Ordered {
    /// Writes the result as JSON, an anchor a line.
    fn write(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let texts = |entries: &[Entry]| -> Vec<&str> {
            entries.iter().map(|entry| self.ids.text(entry)).collect()
        };
        let mut separator = "";
        out.write_all(b"{\"anchors\":[")?;
        for anchor in &self.anchors {
            let text = AnchorText {
                groups: anchor.groups.iter().map(|group| texts(group)).collect(),
                group_wait_cut: anchor.group_wait_cut,
                cap_fired: anchor.cap_fired,
            };
            writeln!(out, "{separator}")?;
            serde_json::to_writer(&mut *out, &text)?;
            separator = ",";
        }
        out.write_all(b"\n],\"pending\":")?;
        serde_json::to_writer(&mut *out, &texts(&self.pending))?;
        out.write_all(b"}\n")?;
        Ok(())
    }
}

/// Consensus time of every anchor and expiry of every id: with both the same, nothing is ever past or too far ahead.
const NEVER: TimestampUs = TimestampUs(0);

/// What the command is for.
pub const ABOUT: &str = "Apply the fair order's rule to local orders written in a JSON file, as an auditor would.

Each authority lists transactions in the order in which it received them. From these lists the rule makes the one \
final order: if enough more authorities received x before y, x comes before y. This command runs the code that every \
node runs, on lists of your own.";

/// The file, the result, and the exit status.
pub const FORMAT: &str = r#"The file:
  {"n": 4, "f": 1, "deferral_cap": 64, "anchors": [
    {"seed": "64 hex digits", "append": [["a", "b"], ["a", "b"], ["b", "a"], []]},
    {"seed": "64 hex digits", "append": [[], ["c"], [], ["b"]]}
  ]}
  n             authorities, 1 to 128
  f             how many of them may lie, 0 to floor((n - 1) / 3); an id is ready to be ordered
                once n - f authorities list it
  deferral_cap  an id that was ready at so many anchors is ordered, whatever it waits for; from 1
  anchors       the steps at which the committee orders
  seed          breaks ties, by BLAKE3 keyed with it, of each id's digest
  append        what the anchor adds to the lists: one list of ids an authority, in order of receipt
  id            a string; 64 lowercase hex digits are a digest themselves, the digest of any other
                id is the BLAKE3 hash of its text
An authority lists an id once, over all anchors. To list one that is ordered already is normal and
changes nothing.

The result:
  {"anchors": [
    {"groups": [["a"], ["b"]], "group_wait_cut": 0, "cap_fired": 0},
    {"groups": [], "group_wait_cut": 0, "cap_fired": 0}
  ], "pending": ["c"]}
  groups          what the anchor orders, in order. Ids share a group when the lists contradict each
                  other in a cycle (a before b before c before a), and stand there as the rule says
  group_wait_cut  ids ordered because they were ready for deferral_cap / 8 anchors, rounded up, and
                  waited for their own group only
  cap_fired       ids ordered because they were ready for deferral_cap anchors
  pending         ids that were listed and not ordered by the end, in order of arrival

Exit status: 0 ordered; 2 the file cannot be read or means nothing, said in one sentence with the line."#;
