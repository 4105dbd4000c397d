use super::*;

fn set(members: &[u8]) -> AuthoritySet {
    let mut set = AuthoritySet::EMPTY;
    for member in members {
        set.insert(AuthorityIndex(*member));
    }
    set
}

struct Follower {
    resends: Resends,
    now: Instant,
    heard: Vec<Event>,
}

impl Follower {
    fn new(wants_places: bool) -> Self {
        Self {
            resends: Resends::new(wants_places, 2),
            now: Instant::now(),
            heard: Vec::new(),
        }
    }

    fn submit(&mut self, tag: u64) {
        let sent = set(&[0, 1, 2]);
        self.resends.on_submit(tag, &[tag as u8], sent, self.now);
    }

    fn ack(&mut self, authority: u8, tag: u64, code: AckCode, detail: u64) {
        let heard = &mut self.heard;
        let ack = Ack { tag, code, detail };
        let authority = AuthorityIndex(authority);
        let tell = &mut |event| heard.push(event);
        self.resends.on_ack(authority, ack, self.now, tell);
    }

    fn ordered(&mut self, authority: u8, tag: u64) {
        let authority = AuthorityIndex(authority);
        self.resends.on_ordered(authority, tag, self.now);
    }

    /// Goes on to the next time at which something is due; what is sent then, and to whom.
    fn next(&mut self) -> Option<(Duration, u64, AuthoritySet)> {
        let before = self.now;
        self.now = self.resends.deadline()?;
        let mut sent = None;
        let waited = self.now - before;
        self.resends.resend_next(self.now, |tag, bytes, targets| {
            assert_eq!(bytes, [tag as u8]);
            sent = Some((waited, tag, targets));
        });
        sent
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn who_does_not_answer_is_sent_it_again_less_and_less_often_and_then_no_more() {
    let mut follower = Follower::new(true);
    follower.submit(7);
    follower.ack(1, 7, AckCode::Accepted, 0);
    let mut waits = Vec::new();
    while let Some((wait, tag, targets)) = follower.next() {
        assert_eq!((tag, targets), (7, set(&[0, 2])));
        waits.push(wait.as_millis());
    }
    assert_eq!(waits[..6], [100, 200, 400, 800, 1_600, 2_000]);
    assert_eq!(waits.len() as u32, RESENDS_MAX);
    assert_eq!(follower.resends.counts.given_up, 1);
    assert!(follower.resends.pending.is_empty() && follower.resends.due.is_empty());
}

#[test]
fn an_answer_is_heard_once_and_a_place_ends_it() {
    let mut follower = Follower::new(true);
    follower.submit(7);
    for _ in 0..3 {
        follower.ack(0, 7, AckCode::Accepted, 0);
    }
    follower.ack(1, 7, AckCode::Busy, 20_000);
    assert_eq!(follower.heard.len(), 2);
    assert_eq!(follower.resends.counts.repeated, 2);
    follower.ordered(0, 7);
    assert!(!follower.resends.pending.is_empty(), "2 has not answered");
    follower.ack(2, 7, AckCode::Accepted, 0);
    assert!(follower.resends.pending.is_empty() && follower.next().is_none());
    // One that nobody answers is not sent again either, once f + 1 have told its place.
    follower.submit(8);
    follower.ordered(0, 8);
    follower.ordered(1, 8);
    assert!(follower.next().is_none() && follower.resends.pending.is_empty());
    assert_eq!(follower.resends.counts.given_up, 0);
}

#[test]
fn the_place_that_one_authority_tells_does_not_keep_it_from_those_that_have_not_answered() {
    let mut follower = Follower::new(true);
    follower.submit(7);
    follower.ack(0, 7, AckCode::Accepted, 0);
    for _ in 0..2 {
        follower.ordered(0, 7);
        assert_eq!(follower.next().map(|(_, _, to)| to), Some(set(&[1, 2])));
    }
    // Nor does it when it says that it has settled it long ago.
    follower.ack(0, 7, AckCode::Duplicate, 12);
    assert_eq!(follower.next().map(|(_, _, to)| to), Some(set(&[1, 2])));
    follower.ordered(1, 7);
    assert!(follower.next().is_none() && follower.resends.pending.is_empty());
    assert_eq!(follower.resends.counts.given_up, 0);
}

#[test]
fn when_all_accepted_and_no_place_came_one_after_the_other_is_asked() {
    let mut follower = Follower::new(true);
    follower.submit(7);
    for authority in 0..3 {
        follower.ack(authority, 7, AckCode::Accepted, 0);
    }
    let asked: Vec<(Duration, AuthoritySet)> = (0..4)
        .map(|_| follower.next().map(|(wait, _, to)| (wait, to)).unwrap())
        .collect();
    assert_eq!(asked[0], (ms(500), set(&[0])));
    assert_eq!(asked[1], (ms(500), set(&[1])));
    assert_eq!((asked[2].1, asked[3].1), (set(&[2]), set(&[0])));
    // It was settled long ago: that is its place.
    follower.heard.clear();
    follower.ack(1, 7, AckCode::Duplicate, 12);
    let (tag, seq) = (7, BatchSeq(12));
    assert_eq!(follower.heard, [Event::Batched { tag, seq }]);
    assert!(follower.resends.pending.is_empty());
}

#[test]
fn a_duplicate_after_sending_again_means_that_the_ack_was_lost() {
    let mut follower = Follower::new(true);
    follower.submit(7);
    assert!(follower.next().is_some());
    follower.ack(0, 7, AckCode::Duplicate, 12);
    let accepted = Ack {
        tag: 7,
        code: AckCode::Accepted,
        detail: 0,
    };
    let (tag, seq) = (7, BatchSeq(12));
    assert_eq!(
        follower.heard,
        [Event::Ack(accepted), Event::Batched { tag, seq }]
    );
    // At the first sending it means that somebody else had sent it.
    follower.heard.clear();
    follower.submit(8);
    follower.ack(0, 8, AckCode::Duplicate, 3);
    assert!(matches!(
        follower.heard[..],
        [Event::Ack(Ack {
            code: AckCode::Duplicate,
            detail: 3,
            ..
        })]
    ));
}

#[test]
fn refused_by_all_or_not_followed_for_places_it_is_done_with() {
    let mut follower = Follower::new(true);
    follower.submit(7);
    for authority in 0..3 {
        follower.ack(authority, 7, AckCode::Expired, 0);
    }
    assert!(follower.next().is_none());
    let mut follower = Follower::new(false);
    follower.submit(7);
    for authority in 0..3 {
        follower.ack(authority, 7, AckCode::Accepted, 0);
    }
    assert!(follower.next().is_none());
    follower.ack(0, 7, AckCode::Accepted, 0);
    assert_eq!(follower.heard.len(), 4, "what is not followed is told");
}

#[test]
fn so_many_are_followed_and_no_more() {
    let mut follower = Follower::new(true);
    for tag in 0..PENDING_MAX as u64 + 3 {
        follower.submit(tag);
    }
    assert_eq!(follower.resends.pending.len(), PENDING_MAX);
    assert_eq!(follower.resends.counts.unfollowed, 3);
}
