//! An assurance: a share once more, for one who has not acknowledged it, so that everybody sees that it is good and only its
//! receiver reads it.
//!
//! It is for who is away and cannot complain. The share s of receiver j has a public image I = s g, the committed polynomial
//! at j's point. The dealer makes N times a point R_i = r_i g, a mask q_i = hash of r_i E_j = e_j R_i, and Q_i = q_i g. A hash of
//! all R_i and Q_i chooses m of them. Of these it shows R_i and z_i = s + q_i, so that Q_i = z_i g - I; of the others r_i, from
//! which R_i and Q_i follow. All is well when the hash comes out again. One shown z_i whose Q_i was made as it should be
//! is enough for j: s = z_i - q_i.
//!
//! Source: Camenisch and Damgaard, Verifiable Encryption, Group Encryption, and Their Applications, ASIACRYPT 2000. Departs:
//! more than half are opened, which makes it shorter, and the mask is what is committed to, so nothing else is encrypted.
//!
//! Invariants:
//! - A1 a receiver whose dealer's assurance was verified reads a share that fits the commitments. To fail it, the chosen m
//!   must be just those that were not made as they should be, and a hash chooses them: C(N, m) > 2^128 ways.
//! - A2 who does not know e_j learns s g and no more: of each i either r_i is shown or a sum with a mask that is the hash of a
//!   Diffie-Hellman value. No r_i meets two challenges: all of them follow from what the challenge covers.
//!
//! Body, after the head of [`super::message`]: receiver u8 | challenge 32 | for i in 0..N, of a chosen one R_i 32 | z_i 32,
//! of another r_i 32.
//!
//! Cost: making and verifying are some 300 multiplications by fixed points, done together ([`double_fixed_products`]); reading the
//! share is one of a point that varies.

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use crate::dkg::deal::{DealError, VerifiedDeal};
use crate::dkg::keys::{DecryptionKey, EncryptionKey};
use crate::dkg::message::scalar;
use crate::dkg::session::Session;
use crate::seal::group::{EncodedPoint, Transcript, base_generator};
use crate::seal::{Generator, double_fixed_products};
use crate::types::AuthorityIndex;
use crate::wire::{DecodeError, Reader, Writer};

/// What is kept of an assurance that holds: the chosen m, one of which is good.
#[derive(Clone, Debug)]
pub(super) struct Assurance {
    chosen: Vec<Chosen>,
}

/// R_i and s + q_i.
#[derive(Clone, Debug)]
struct Chosen {
    ephemeral: EncodedPoint,
    sum: Scalar,
}

impl Assurance {
    /// Reads, to its end, and checks what `deal`'s dealer orders for `receiver`, a member; the receiver is read already.
    ///
    /// Errors: not a canonical encoding, or it proves nothing.
    pub(super) fn read(
        session: &Session,
        deal: &VerifiedDeal,
        receiver: AuthorityIndex,
        mut reader: Reader<'_>,
    ) -> Result<Self, DealError> {
        let (left, wanted) = (reader.left(), BODY_LEN - 1);
        if left < wanted {
            return Err(DecodeError::Truncated { wanted, left }.into());
        }
        if left > wanted {
            return Err(DecodeError::Trailing(left - wanted).into());
        }
        let challenge: [u8; 32] = reader.array()?;
        // All of it is read before anything is multiplied: what does not decode may come in every vertex.
        let mut chosen = Vec::with_capacity(CHOSEN);
        let mut opened = Vec::with_capacity(INSTANCES - CHOSEN);
        let choice = choose(&challenge);
        for is_chosen in choice {
            match is_chosen {
                true => chosen.push(Chosen::read(&mut reader)?),
                false => opened.push(scalar(&mut reader, "opened instance")?),
            }
        }
        let chosen = decoded(chosen)?;
        let statement = Statement::new(session, deal, receiver);
        let mut closed = statement.closed(&chosen).into_iter();
        let mut open = statement.instances(&opened).into_iter();
        let committed: Vec<[[u8; 32]; 2]> = (choice.iter())
            .map(|is_chosen| match is_chosen {
                true => closed.next(),
                false => open.next().map(|instance| instance.committed),
            })
            .collect::<Option<_>>()
            .expect("as many were read as are chosen or not");
        match statement.challenge(&committed) == challenge {
            true => Ok(Self { chosen }),
            false => Err(DealError::Proof),
        }
    }

    /// The share that it assures `receiver` of, who holds `key`. None but with a probability of 2^-128 (A1).
    pub(super) fn share(
        &self,
        session: &Session,
        deal: &VerifiedDeal,
        receiver: AuthorityIndex,
        key: &DecryptionKey,
    ) -> Option<Zeroizing<Scalar>> {
        let (public, image) = (key.public(), deal.image(receiver));
        self.chosen.iter().find_map(|chosen| {
            let shared = Zeroizing::new(chosen.ephemeral.point() * key.secret());
            let shared = Zeroizing::new(encode(&shared));
            let (dealer, ephemeral) = (deal.dealer(), chosen.ephemeral.bytes());
            let mask = mask(session, dealer, receiver, &public, ephemeral, &shared);
            let share = Zeroizing::new(chosen.sum - *mask);
            (RistrettoPoint::mul_base(&share) == image).then_some(share)
        })
    }

    /// Appends what is kept, [`Assurance::STATE_LEN`] bytes: R_i 32 | z_i 32 each.
    pub(super) fn encode_state(&self, out: &mut Vec<u8>) {
        for chosen in &self.chosen {
            chosen.encode(out);
        }
    }

    /// Reads it back, unchecked: whoever agreed on the state has checked it. Errors: not a canonical encoding.
    pub(super) fn decode_state(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let chosen = (0..CHOSEN).map(|_| Chosen::read(reader));
        let chosen = chosen.collect::<Result<_, _>>()?;
        Ok(Self {
            chosen: decoded(chosen)?,
        })
    }
}

/// Of chosen ones whose points were read and not decoded: that takes less time for all together.
fn decoded(read: Vec<([u8; 32], Scalar)>) -> Result<Vec<Chosen>, DecodeError> {
    let encodings: Vec<[u8; 32]> = read.iter().map(|(encoding, _)| *encoding).collect();
    let points = EncodedPoint::decode_all(&encodings).into_iter();
    let chosen = points.zip(read).map(|(point, (_, sum))| {
        let ephemeral = point.ok_or(DecodeError::NotCanonical("chosen instance's point"))?;
        Ok(Chosen { ephemeral, sum })
    });
    chosen.collect()
}

impl Chosen {
    fn read(reader: &mut Reader<'_>) -> Result<([u8; 32], Scalar), DecodeError> {
        Ok((reader.array()?, scalar(reader, "chosen instance's sum")?))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        Writer::new(out)
            .bytes(self.ephemeral.bytes())
            .bytes(self.sum.as_bytes());
    }
}

/// Appends the body that assures `receiver` of `share`; `entropy` is what the deal was drawn from. Always the same bytes.
pub(super) fn encode_body(
    session: &Session,
    deal: &VerifiedDeal,
    receiver: AuthorityIndex,
    share: &Scalar,
    entropy: &[u8; 32],
    out: &mut Vec<u8>,
) {
    let statement = Statement::new(session, deal, receiver);
    let mut secrets = Zeroizing::new(Vec::with_capacity(INSTANCES));
    secrets.extend((0..INSTANCES as u32).map(|index| *statement.secret(entropy, index)));
    let instances = statement.instances(&secrets);
    let committed: Vec<[[u8; 32]; 2]> = instances.iter().map(|i| i.committed).collect();
    let challenge = statement.challenge(&committed);
    Writer::new(out).u8(receiver.0).bytes(&challenge);
    let all = secrets.iter().zip(&instances);
    for (is_chosen, (secret, instance)) in choose(&challenge).into_iter().zip(all) {
        if is_chosen {
            let sum = share + *instance.mask;
            Writer::new(out)
                .bytes(&instance.committed[0])
                .bytes(sum.as_bytes());
        } else {
            Writer::new(out).bytes(secret.as_bytes());
        }
    }
}

/// What is to be shown: that whoever holds the key of `receiver` reads the logarithm of `image`.
struct Statement<'a> {
    session: &'a Session,
    dealer: AuthorityIndex,
    receiver: AuthorityIndex,
    key: &'a EncryptionKey,
    /// E_j.
    generator: Generator,
    image: RistrettoPoint,
    encoded_image: [u8; 32],
}

/// One of the N.
struct Instance {
    /// R_i and Q_i.
    committed: [[u8; 32]; 2],
    /// q_i.
    mask: Zeroizing<Scalar>,
}

impl<'a> Statement<'a> {
    fn new(session: &'a Session, deal: &VerifiedDeal, receiver: AuthorityIndex) -> Self {
        let key = session.encryption_key(receiver);
        let image = deal.image(receiver);
        Self {
            session,
            dealer: deal.dealer(),
            receiver,
            key,
            generator: Generator::new(key.point()),
            image,
            encoded_image: encode(&image),
        }
    }

    fn transcript(&self, tag: &str) -> Transcript {
        self.session
            .transcript(tag, self.dealer)
            .part(&[self.receiver.0])
            .part(self.key.bytes())
            .part(&self.encoded_image)
    }

    /// r_i.
    fn secret(&self, entropy: &[u8; 32], index: u32) -> Zeroizing<Scalar> {
        let transcript = self.transcript(TAG_INSTANCE).part(entropy);
        transcript.part(&index.to_be_bytes()).secret_scalar()
    }

    /// Those of these r_i, in their order.
    fn instances(&self, secrets: &[Scalar]) -> Vec<Instance> {
        let halves = Zeroizing::new(secrets.iter().map(Scalar::div_by_2).collect::<Vec<_>>());
        let of_g = halves.iter().map(|half| (base_generator(), half));
        let of_key = halves.iter().map(|half| (&self.generator, half));
        let products = double_fixed_products(&of_g.chain(of_key).collect::<Vec<_>>());
        let (ephemerals, shared) = products.split_at(secrets.len());
        let masks = (ephemerals.iter().zip(shared)).map(|(ephemeral, shared)| {
            let (session, receiver) = (self.session, self.receiver);
            mask(session, self.dealer, receiver, self.key, ephemeral, shared)
        });
        let masks: Vec<Zeroizing<Scalar>> = masks.collect();
        let mut halves = Zeroizing::new(Vec::with_capacity(masks.len()));
        halves.extend(masks.iter().map(|mask| mask.div_by_2()));
        let of_g = halves.iter().map(|half| (base_generator(), half));
        let images = double_fixed_products(&of_g.collect::<Vec<_>>());
        let committed = ephemerals.iter().zip(images.iter());
        (committed.zip(masks))
            .map(|((ephemeral, image), mask)| Instance {
                committed: [*ephemeral, *image],
                mask,
            })
            .collect()
    }

    /// R_i and Q_i = z_i g - I of the chosen ones, in their order.
    fn closed(&self, chosen: &[Chosen]) -> Vec<[[u8; 32]; 2]> {
        let half_image = self.image * Scalar::ONE.div_by_2();
        let halves: Vec<RistrettoPoint> = (chosen.iter())
            .map(|kept| RistrettoPoint::mul_base(&kept.sum.div_by_2()) - half_image)
            .collect();
        let images = RistrettoPoint::double_and_compress_batch(&halves);
        (chosen.iter().zip(images))
            .map(|(kept, image)| [*kept.ephemeral.bytes(), image.to_bytes()])
            .collect()
    }

    fn challenge(&self, committed: &[[[u8; 32]; 2]]) -> [u8; 32] {
        let points = committed.iter().flatten();
        self.transcript(TAG_PROOF).parts(points).hash()
    }
}

/// Which m of the N instances a challenge chooses.
fn choose(challenge: &[u8; 32]) -> [bool; INSTANCES] {
    let mut stream = Transcript::new(TAG_CHOICE).part(challenge).stream();
    let mut order: [usize; INSTANCES] = std::array::from_fn(|index| index);
    let mut is_chosen = [false; INSTANCES];
    for place in 0..CHOSEN {
        let mut drawn = [0; 8];
        stream.fill(&mut drawn);
        // Uniform to within 2^-56.
        let above = u64::from_be_bytes(drawn) % (INSTANCES - place) as u64;
        order.swap(place, place + above as usize);
        is_chosen[order[place]] = true;
    }
    is_chosen
}

/// q_i, from the Diffie-Hellman value of R_i and E_j.
fn mask(
    session: &Session,
    dealer: AuthorityIndex,
    receiver: AuthorityIndex,
    key: &EncryptionKey,
    ephemeral: &[u8; 32],
    shared: &[u8; 32],
) -> Zeroizing<Scalar> {
    session
        .transcript(TAG_MASK, dealer)
        .part(&[receiver.0])
        .part(key.bytes())
        .part(ephemeral)
        .part(shared)
        .secret_scalar()
}

fn encode(point: &RistrettoPoint) -> [u8; 32] {
    point.compress().to_bytes()
}

/// N.
const INSTANCES: usize = 138;
/// m: C(138, 52) is 2^128.06, and no other two numbers with that property have a smaller sum.
const CHOSEN: usize = 52;
/// Length of a body, in bytes.
pub(super) const BODY_LEN: usize = 1 + 32 + 32 * (INSTANCES + CHOSEN);

const TAG_INSTANCE: &str = "fairlane/1/dkg-assurance-instance";
const TAG_MASK: &str = "fairlane/1/dkg-assurance-mask";
const TAG_PROOF: &str = "fairlane/1/dkg-assurance-proof";
const TAG_CHOICE: &str = "fairlane/1/dkg-assurance-choice";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkg::deal::Draft;
    use crate::dkg::trial::Trial;

    #[test]
    fn a_challenge_chooses_m_of_n_and_each_as_often_as_the_others() {
        let mut counts = [0u32; INSTANCES];
        for seed in 0..1_000u32 {
            let mut challenge = [0; 32];
            challenge[..4].copy_from_slice(&seed.to_be_bytes());
            let is_chosen = choose(&challenge);
            assert_eq!(is_chosen.iter().filter(|chosen| **chosen).count(), CHOSEN);
            for (count, chosen) in counts.iter_mut().zip(is_chosen) {
                *count += u32::from(chosen);
            }
        }
        // 377 of 1,000 on average, and 15.3 the standard deviation.
        assert!(counts.iter().all(|count| (300..455).contains(count)));
    }

    /// As [`encode_body`], but the masks of the instances in `bad` are not the hash that their receiver computes.
    fn body_with_bad(
        statement: &Statement<'_>,
        share: &Scalar,
        entropy: &[u8; 32],
        bad: &[usize],
    ) -> (Vec<u8>, [bool; INSTANCES]) {
        let instances: Vec<_> = (0..INSTANCES)
            .map(|index| {
                let secret = statement.secret(entropy, index as u32);
                let mut instance = statement.instances(&[*secret]).remove(0);
                if bad.contains(&index) {
                    *instance.mask += Scalar::ONE;
                    let masked = RistrettoPoint::mul_base(&instance.mask);
                    instance.committed[1] = encode(&masked);
                }
                (secret, instance)
            })
            .collect();
        let committed: Vec<_> = instances.iter().map(|(_, of)| of.committed).collect();
        let challenge = statement.challenge(&committed);
        let is_chosen = choose(&challenge);
        let mut body = challenge.to_vec();
        for (is_chosen, (secret, instance)) in is_chosen.iter().zip(&instances) {
            if *is_chosen {
                body.extend(instance.committed[0]);
                body.extend((share + *instance.mask).as_bytes());
            } else {
                body.extend(secret.as_bytes());
            }
        }
        (body, is_chosen)
    }

    /// A dealer cannot choose which instances are shown: bad ones are found unless all of them are among the chosen, and
    /// then the others among these still give the receiver its share.
    #[test]
    fn bad_instances_are_found_unless_all_are_chosen_and_then_a_good_one_still_gives_the_share() {
        let trial = Trial::new(4, 3);
        let (dealer, receiver) = (AuthorityIndex(1), AuthorityIndex(3));
        let deal = trial.read_deal(1, &trial.deal_wrong(1, &[3])).unwrap();
        let share = Draft::new(&trial.session, dealer, &[51; 32]).shares[3].clone();
        let statement = Statement::new(&trial.session, &deal, receiver);
        let (mut found, mut passed) = (0, 0);
        for (seed, bad) in (0u8..).zip([&[7][..], &[7, 90], &[0, 50, 137]].repeat(8)) {
            let (body, is_chosen) = body_with_bad(&statement, &share, &[seed; 32], bad);
            let read = Assurance::read(&trial.session, &deal, receiver, Reader::new(&body));
            if bad.iter().all(|index| is_chosen[*index]) {
                let read = read.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                let given = read.share(&trial.session, &deal, receiver, &trial.keys[3]);
                assert_eq!(given.as_deref(), Some(&*share), "seed {seed}");
                passed += 1;
            } else {
                assert!(matches!(read, Err(DealError::Proof)), "seed {seed}");
                found += 1;
            }
        }
        // One bad one is among 52 of 138 in three of eight draws, two in one of seven, three in one of nineteen.
        assert!(passed >= 2 && found >= 12, "{passed} passed, {found} found");
        // With all m of the chosen bad nothing would be read; nobody can aim at that, as what is bad changes the choice.
        let (_, honest) = body_with_bad(&statement, &share, &[0; 32], &[]);
        let aimed: Vec<usize> = (0..INSTANCES).filter(|index| honest[*index]).collect();
        let (body, is_chosen) = body_with_bad(&statement, &share, &[0; 32], &aimed);
        assert_ne!(is_chosen, honest);
        let read = Assurance::read(&trial.session, &deal, receiver, Reader::new(&body));
        assert!(matches!(read, Err(DealError::Proof)));
    }

    #[test]
    fn there_are_more_than_2_to_the_128_choices() {
        let factor = |of: usize| ((INSTANCES - of) as f64 / (CHOSEN - of) as f64).log2();
        let bits: f64 = (0..CHOSEN).map(factor).sum();
        assert!((128.0..128.1).contains(&bits), "{bits}");
    }
}
