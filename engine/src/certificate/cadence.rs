//! Which batches an authority vouches for: the last of each stretch of consensus time, and the last of all when nothing
//! follows.
//!
//! Stretches are `certificate_interval_us` long and begin at multiples of it. That a batch is the last of its stretch is
//! seen when one of a later stretch opens; it follows from the headers alone, so all correct authorities vouch for the
//! same batches and a quorum comes together. Each header names the one before, so nothing is left out.
//!
//! Where nothing follows, the newest batch would wait for the next client. So an authority also vouches for it when it has
//! been the newest for as long as a stretch by the own clock. Where something follows after all, some may have done so and
//! others not: what they have signed is true, and the next batch that all sign covers it.

use super::cert::CertifiedHeader;
use crate::batch::header::BatchHeader;
use crate::types::TimestampUs;

/// Follows the batches that one authority opens, in order.
#[derive(Clone, Debug)]
pub struct Cadence {
    interval_us: u64,
    newest: Option<Newest>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    header: BatchHeader,
    /// By the own clock.
    opened: TimestampUs,
    is_signed: bool,
}

impl Cadence {
    /// Nothing is opened yet. Panics when the interval is 0, which no committee has.
    pub fn new(interval_us: u64) -> Self {
        assert!(interval_us > 0, "a committee's interval is above 0");
        Self {
            interval_us,
            newest: None,
        }
    }

    /// The next batch is opened; gives what to sign: the one before, when it was the last of its stretch.
    pub fn on_opened(&mut self, header: &BatchHeader, now: TimestampUs) -> Option<CertifiedHeader> {
        let before = self.newest.replace(Newest {
            header: *header,
            opened: now,
            is_signed: false,
        })?;
        let is_last = self.stretch(&before.header) < self.stretch(header);
        (is_last && !before.is_signed).then(|| CertifiedHeader::from(&before.header))
    }

    /// When the newest batch will have been that for long enough; none once it is signed.
    pub fn due(&self) -> Option<TimestampUs> {
        let newest = self.newest.filter(|newest| !newest.is_signed)?;
        Some(newest.opened.plus_us(self.interval_us))
    }

    /// Time has passed: gives the newest batch when it is due, once.
    pub fn on_time(&mut self, now: TimestampUs) -> Option<CertifiedHeader> {
        self.due().filter(|due| *due <= now)?;
        let newest = self.newest.as_mut()?;
        newest.is_signed = true;
        Some(CertifiedHeader::from(&newest.header))
    }

    const fn stretch(&self, header: &BatchHeader) -> u64 {
        header.time_us.0 / self.interval_us
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::types::BatchSeq;

    /// A chain of headers at these consensus times.
    fn chain(times_us: &[u64]) -> Vec<BatchHeader> {
        let mut headers: Vec<BatchHeader> = Vec::new();
        for (seq, time_us) in (0..).zip(times_us) {
            headers.push(BatchHeader {
                seq: BatchSeq(seq),
                previous: headers.last().map(BatchHeader::hash).unwrap_or_default(),
                time_us: TimestampUs(*time_us),
                ..BatchHeader::default()
            });
        }
        headers
    }

    fn seqs(signed: impl IntoIterator<Item = CertifiedHeader>) -> Vec<u64> {
        signed.into_iter().map(|header| header.seq.0).collect()
    }

    #[test]
    fn the_last_batch_of_each_stretch_is_signed_when_a_later_one_opens() {
        let headers = chain(&[100, 150, 199, 200, 405, 450, 700]);
        let mut cadence = Cadence::new(100);
        let now = TimestampUs(0);
        let signed = headers
            .iter()
            .filter_map(|header| cadence.on_opened(header, now));
        assert_eq!(seqs(signed), [2, 3, 5]);
    }

    #[test]
    fn the_newest_is_signed_once_when_nothing_follows() {
        let headers = chain(&[100, 150, 450]);
        let mut cadence = Cadence::new(100);
        assert_eq!(cadence.due(), None);
        assert!(cadence.on_opened(&headers[0], TimestampUs(5)).is_none());
        assert!(cadence.on_opened(&headers[1], TimestampUs(9)).is_none());
        assert_eq!(cadence.due(), Some(TimestampUs(109)));
        assert!(cadence.on_time(TimestampUs(108)).is_none());
        assert_eq!(seqs(cadence.on_time(TimestampUs(109))), [1]);
        assert_eq!(
            (cadence.due(), cadence.on_time(TimestampUs(999))),
            (None, None)
        );
        let later = cadence.on_opened(&headers[2], TimestampUs(1000));
        assert_eq!(later, None, "it is signed already");
    }

    #[test]
    fn what_is_signed_names_the_header() {
        let headers = chain(&[1, 201]);
        let mut cadence = Cadence::new(100);
        cadence.on_opened(&headers[0], TimestampUs(0));
        let signed = cadence.on_opened(&headers[1], TimestampUs(0)).unwrap();
        assert_eq!(signed, CertifiedHeader::from(&headers[0]));
        assert_eq!(signed.hash, headers[0].hash());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever their clocks and waits, authorities sign the same batches but for those of an idle end.
        #[test]
        fn all_sign_the_last_of_every_stretch(
            gaps in vec(0u64..250, 1..60),
            delays in vec(vec(0u64..400, 60), 2..5),
        ) {
            let mut time = 1000;
            let times: Vec<u64> = gaps.iter().map(|gap| { time += gap; time }).collect();
            let headers = chain(&times);
            let last_of_stretch: Vec<u64> = headers
                .windows(2)
                .filter(|pair| pair[0].time_us.0 / 100 < pair[1].time_us.0 / 100)
                .map(|pair| pair[0].seq.0)
                .collect();
            for delays in delays {
                let mut cadence = Cadence::new(100);
                let (mut now, mut signed) = (TimestampUs(0), Vec::new());
                for (header, delay) in headers.iter().zip(delays) {
                    now = now.plus_us(delay);
                    signed.extend(cadence.on_time(now));
                    signed.extend(cadence.on_opened(header, now));
                }
                signed.extend(cadence.on_time(now.plus_us(100)));
                let signed = seqs(signed);
                prop_assert!(signed.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", signed);
                prop_assert!(last_of_stretch.iter().all(|seq| signed.contains(seq)));
                prop_assert_eq!(signed.last().copied(), headers.last().map(|last| last.seq.0));
            }
        }
    }
}
