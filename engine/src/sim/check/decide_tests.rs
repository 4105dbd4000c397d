//! One slot a round leads: B1, C2, D3, A4, B5 for a committee of four.

use super::*;
use crate::dag::drawn::Drawn;

/// Slot 1 has one certificate (A3); slot 2 three votes and no certificate; slot 3 a skip pattern (figure 3 of the paper).
const STEPS: &str = "ABCD1; ABC2:[A1 B1 C1]; D2:[A1 C1 D1]; \
    A3:[A2 B2 C2]; B3:[A2 B2 D2]; C3:[B2 C2 D2]; D3:[A2 C2 D2]; \
    ABC4:[A3 B3 C3]; D4:[B3 C3 D3]; ABCD5; ABCD6";

/// What the checker says of a node that has all of `text` and outputs these anchors one after the other.
fn output(text: &str, anchors: &str) -> Result<u64, String> {
    let drawn = Drawn::new(4, text);
    let mut decide = Decide::new(4, &drawn.committee.parameters);
    for vertex in drawn.vertices() {
        decide.keep(vertex);
        decide.on_accepted(0, vertex.bytes());
    }
    for (index, anchor) in drawn.references(anchors).into_iter().enumerate() {
        decide.on_anchor(0, &record(index, &anchor))?;
        decide.on_committed(anchor, &step(&anchor));
    }
    Ok(decide.judged)
}

/// As much of an anchor's record as is read.
fn record(index: usize, anchor: &VertexRef) -> Vec<u8> {
    let mut record = (index as u64).to_be_bytes().to_vec();
    anchor.encode(&mut record);
    record
}

fn step(anchor: &VertexRef) -> Step {
    Step {
        time: crate::types::TimestampUs(0),
        tie_seed: [0; 32],
        appends: Vec::new(),
        vertices: vec![*anchor],
        new_forks: Vec::new(),
    }
}

#[test]
fn what_its_wave_decides_may_be_output_and_nothing_with_a_certificate_less() {
    let text = "ABCD1; ABCD2; ABC3";
    assert_eq!(output(text, "B1"), Ok(1));
    assert!(output("ABCD1; ABCD2; AB3", "B1").is_err());
    assert!(output(text, "C2").is_err(), "B1 is passed over");
}

#[test]
fn vertices_count_only_at_the_node_that_accepted_them() {
    let drawn = Drawn::new(4, "ABCD1; ABCD2; ABC3");
    let mut decide = Decide::new(4, &drawn.committee.parameters);
    for vertex in drawn.vertices() {
        decide.keep(vertex);
        decide.on_accepted(0, vertex.bytes());
        if vertex.reference() != drawn.reference("C3") {
            decide.on_accepted(1, vertex.bytes());
        }
    }
    let record = record(0, &drawn.reference("B1"));
    assert!(decide.on_anchor(1, &record).is_err());
    assert_eq!(decide.on_anchor(0, &record), Ok(()));
    decide.on_accepted(1, drawn.vertex("C3").bytes());
    assert_eq!(decide.on_anchor(1, &record), Ok(()));
}

#[test]
fn an_anchor_decides_what_lies_below_it_and_an_undecided_slot_is_not_passed_over() {
    // A4 is committed and has a certificate for B1; C2 waits for B5, whose wave is not there yet.
    assert_eq!(output(STEPS, "B1"), Ok(1));
    assert!(output(STEPS, "B1 A4").is_err());
    assert!(output(STEPS, "B1 C2").is_err());
    let round_7 = format!("{STEPS}; ABCD7");
    assert_eq!(output(&round_7, "B1 A4 B5"), Ok(3));
    assert!(output(&round_7, "B1 C2").is_err(), "nobody certifies C2");
    assert!(output(&round_7, "B1 B5").is_err(), "A4 is passed over");
}

#[test]
fn twins_make_no_quorum() {
    // Without a vote for B1: D2 and its twin, and C2. The twins are two vertices and one author.
    let twins = "ABCD1; AB2:[A1 B1 C1]; CD2:[A1 C1 D1]; D2':[A1 C1 D1]";
    let up_to_c2 = format!("{twins}; ABCD3; ABCD4");
    assert!(output(&up_to_c2, "C2").is_err());
    // With a third author the slot is skipped.
    let skipped = "ABCD1; A2; BCD2:[B1 C1 D1 A1]; ABCD3; ABCD4";
    assert_eq!(output(skipped, "B1"), Ok(1));
    let skipped = "ABCD1; B2; ACD2:[A1 C1 D1]; ABCD3; ABCD4";
    assert_eq!(output(skipped, "C2"), Ok(1));
    // Certificates by both twins and one more author commit nothing.
    let certified = "ABCD1; ABCD2; A3; D3; D3'";
    assert!(output(certified, "B1").is_err());
    assert_eq!(output(&format!("{certified}; C3"), "B1"), Ok(1));
}

#[test]
fn an_own_vertex_counts_from_its_record_and_no_more_once_a_crash_took_it() {
    let drawn = Drawn::new(4, "ABCD1; ABCD2; ABC3");
    let judged_after_losing = |durable| {
        let mut decide = Decide::new(4, &drawn.committee.parameters);
        for vertex in drawn.vertices() {
            decide.keep(vertex);
            match vertex.reference() == drawn.reference("C3") {
                true => decide.on_own_record(2, 7, vertex.bytes()),
                false => decide.on_accepted(2, vertex.bytes()),
            }
        }
        decide.on_crash(2, durable);
        decide.on_anchor(2, &record(0, &drawn.reference("B1")))
    };
    assert_eq!(judged_after_losing(7), Ok(()));
    assert!(judged_after_losing(6).is_err());
}
