//! A state taken at any point of the log goes on as what it was taken from.

use std::sync::Arc;

use super::machine::Generation;
use super::outcome::Outcome;
use super::trial::{Event, Trial, Vice};
use crate::types::AuthorityIndex;
use crate::wire::{DecodeError, Reader};

/// A log with a cheater, an upheld complaint and assurances to one who does not acknowledge.
fn trial() -> Trial {
    let mut trial = Trial::new(4, 3);
    let vices = [None, Some(Vice::WrongToOne(3)), None, None];
    trial.run(&[1, 0, 2, 3], &vices);
    trial
}

/// A log in which one is cheated who is away.
fn away() -> Trial {
    let mut trial = Trial::new(4, 3);
    let vices = [None, Some(Vice::WrongThenAssures(3)), None, None];
    trial.run(&[1, 0, 2], &vices);
    trial
}

fn encoded(generation: &Generation) -> Vec<u8> {
    let mut bytes = Vec::new();
    generation.encode_state(&mut bytes);
    bytes
}

fn decoded(trial: &Trial, bytes: &[u8]) -> Result<Generation, DecodeError> {
    let mut reader = Reader::new(bytes);
    let generation = Generation::decode_state(trial.session.clone(), &mut reader)?;
    reader.finish()?;
    Ok(generation)
}

fn step(generation: &mut Generation, event: &Event) -> Option<Outcome> {
    match event {
        Event::Message(author, bytes) => {
            generation.handle(*author, bytes).ok();
            None
        }
        Event::Anchor => generation.on_anchor(),
    }
}

#[test]
fn a_state_taken_anywhere_ends_in_the_same_key_and_share() {
    for trial in [trial(), away()] {
        goes_on_from_anywhere(&trial);
    }
}

fn goes_on_from_anywhere(trial: &Trial) {
    let (key, qualified) = trial.agreed();
    for cut in 0..trial.log.len() {
        let mut before = Generation::observe(trial.session.clone());
        for event in &trial.log[..cut] {
            assert!(step(&mut before, event).is_none());
        }
        let state = encoded(&before);
        let again = decoded(trial, &state).unwrap();
        assert_eq!(encoded(&again), state, "what is read back is the same");
        let key_pair = trial.keys[3].clone();
        let mut again = again.join(AuthorityIndex(3), key_pair, &[5; 32]);
        let outcome = trial.log[cut..].iter().find_map(|e| step(&mut again, e));
        let Some(Outcome::Done(generated)) = outcome else {
            panic!("cut at {cut}: {outcome:?}");
        };
        assert_eq!((&generated.key, generated.qualified), (key, qualified));
        let share = generated.share.expect("from the log");
        assert_eq!(
            share.to_bytes(),
            trial.generated(3).share.as_ref().unwrap().to_bytes()
        );
    }
}

#[test]
fn a_generation_that_is_over_gives_its_key_again() {
    let trial = trial();
    assert!(
        Generation::observe(trial.session.clone())
            .generated()
            .is_none()
    );
    let over = decoded(&trial, &encoded(&trial.observer)).unwrap();
    let over = over.join(AuthorityIndex(0), Arc::clone(&trial.keys[0]), &[5; 32]);
    let generated = over.generated().unwrap();
    assert_eq!(&generated.key, trial.agreed().0);
    assert!(generated.share.is_some() && over.wanted().is_none());
}

#[test]
fn who_takes_over_a_generation_that_is_over_has_the_share_that_it_was_assured_of() {
    let trial = away();
    let over = decoded(&trial, &encoded(&trial.observer)).unwrap();
    let over = over.join(AuthorityIndex(3), Arc::clone(&trial.keys[3]), &[5; 32]);
    let generated = over.generated().unwrap();
    let share = generated.share.expect("assured");
    assert_eq!(
        share.to_bytes(),
        trial.generated(3).share.as_ref().unwrap().to_bytes()
    );
    assert_eq!(generated.mended, trial.generated(3).mended);
    assert_eq!(generated.mended.len(), 1);
}

#[test]
fn states_that_no_log_leads_to_are_refused() {
    let trial = trial();
    let good = encoded(&trial.observer);
    assert!(decoded(&trial, &good).is_ok());
    for len in 0..good.len() {
        assert!(decoded(&trial, &good[..len]).is_err(), "{len} bytes");
    }
    assert!(decoded(&trial, &[&good[..], &[0]].concat()).is_err());
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        decoded(&trial, &bytes).is_err()
    };
    assert!(changed(8, 2), "neither over nor not");
    assert!(changed(9, 5), "more deals than there are");
    assert!(changed(10, 4), "by a stranger");
    assert!(changed(10, 2), "by another");
    assert!(changed(18, 99), "ordered after the last anchor");
    assert!(changed(19, 2), "neither refuted nor not");
    assert!(changed(20, 1), "acknowledged by a stranger");
    assert!(changed(52, 1), "a stranger is assured");
    assert!(changed(68, 2), "another version");
    assert!(changed(69, 2), "no deal");
    assert!(changed(76, !good[76]), "another deal");
}
