//! Claims about the ring: order, wrap-around, back-pressure, wake-ups, and a reader that lies or dies.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

fn clone_fds(fds: &RingFds) -> [OwnedFd; 3] {
    fds.as_fds().map(|fd| fd.try_clone_to_owned().unwrap())
}

fn ring(capacity: u64) -> (Producer, RingWatch, RingFds, Consumer) {
    let (producer, watch, fds) = create(capacity, 0).unwrap();
    let consumer = Consumer::attach(clone_fds(&fds)).unwrap();
    (producer, watch, fds, consumer)
}

/// A record that tells its own seq and length.
fn pattern(seq: u64, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (seq as u8) ^ (i as u8).wrapping_mul(31))
        .collect()
}

fn push(producer: &mut Producer, seq: u64, len: usize) -> bool {
    let Some(room) = producer.reserve(len) else {
        return false;
    };
    assert_eq!(
        room.as_ptr() as usize % 16,
        0,
        "archives are read in place at 16-byte alignment"
    );
    room.copy_from_slice(&pattern(seq, len));
    producer.commit(seq, len);
    true
}

#[test]
fn records_are_read_in_order_and_in_place() {
    let (mut producer, watch, _fds, mut consumer) = ring(CAPACITY_MIN);
    assert_eq!(consumer.try_next().unwrap(), None);
    for seq in 0..5 {
        assert!(push(&mut producer, seq, 10 * seq as usize));
    }
    for seq in 0..5 {
        let record = consumer.try_next().unwrap().unwrap();
        assert_eq!(
            (record.seq, record.bytes),
            (seq, &pattern(seq, 10 * seq as usize)[..])
        );
        assert_eq!(record.bytes.as_ptr() as usize % 16, 0);
    }
    assert_eq!(consumer.try_next().unwrap(), None);
    assert_eq!(watch.settled_count(), 0);
    assert!(
        consumer.advance(5),
        "a node wants to be woken unless it says otherwise"
    );
    assert_eq!(watch.settled_count(), 5);
    watch.set_parked(false);
    assert!(!consumer.advance(5));
}

#[test]
fn what_was_reserved_but_not_committed_is_not_seen() {
    let (mut producer, _watch, _fds, mut consumer) = ring(CAPACITY_MIN);
    producer.reserve(100).unwrap().fill(9);
    assert_eq!(consumer.try_next().unwrap(), None);
    assert_eq!(producer.reserved_mut().unwrap().len(), 100);
    producer.commit(0, 40);
    assert_eq!(consumer.try_next().unwrap().unwrap().bytes, [9; 40]);
}

#[test]
fn a_full_ring_declines_until_the_reader_gives_back() {
    let (mut producer, _watch, _fds, mut consumer) = ring(CAPACITY_MIN);
    let mut pushed = 0;
    while push(&mut producer, pushed, 240) {
        pushed += 1;
    }
    assert_eq!(pushed, CAPACITY_MIN / 256);
    consumer.try_next().unwrap().unwrap();
    assert!(
        !push(&mut producer, pushed, 240),
        "handed out is not given back"
    );
    let _ = consumer.advance(1);
    assert!(push(&mut producer, pushed, 240));
    assert!(!push(&mut producer, pushed + 1, 240));
    assert_eq!(producer.lies(), 0);
}

#[test]
fn capacities_that_are_no_power_of_two_or_out_of_bounds_are_refused() {
    for capacity in [0, 1, 2048, 4097, 3 << 20, 1 << 33, u64::MAX] {
        assert!(
            matches!(create(capacity, 0), Err(RingError::Capacity(_))),
            "{capacity}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the sizes and however reading and writing interleave: same records, same order, no byte changed.
    #[test]
    fn any_interleaving_and_any_sizes_wrap_without_loss(
        steps in prop::collection::vec((any::<bool>(), 0..=2032usize), 1..300),
    ) {
        let (mut producer, _watch, _fds, mut consumer) = ring(CAPACITY_MIN);
        let mut lens = Vec::new();
        let mut read = 0;
        for (write, len) in steps {
            if write {
                if push(&mut producer, lens.len() as u64, len) {
                    lens.push(len);
                } else {
                    prop_assert!(read < lens.len(), "an empty ring takes every record");
                }
            } else if let Some(record) = consumer.try_next().unwrap() {
                prop_assert_eq!(record.seq, read as u64);
                prop_assert_eq!(record.bytes, &pattern(record.seq, lens[read])[..]);
                read += 1;
                let _ = consumer.advance(read as u64);
            } else {
                prop_assert_eq!(read, lens.len());
            }
        }
        prop_assert_eq!(producer.lies(), 0);
    }

    /// Nothing that a reader writes into its cursor makes the producer overwrite what it has not given back, or panic.
    #[test]
    fn a_lying_cursor_never_frees_more_than_was_published(
        lies in prop::collection::vec(prop_oneof![any::<u64>(), 0..10_000u64], 1..60),
    ) {
        let (mut producer, watch, fds, _consumer) = ring(CAPACITY_MIN);
        let cursor = File::from(fds.as_fds()[1].try_clone_to_owned().unwrap());
        let mut seq = 0;
        for lie in lies {
            cursor.write_all_at(&lie.to_ne_bytes(), TAIL_AT as u64).unwrap();
            cursor.write_all_at(&lie.to_ne_bytes(), SETTLED_AT as u64).unwrap();
            if push(&mut producer, seq, 700) {
                seq += 1;
            }
            prop_assert!(producer.backlog_len() <= CAPACITY_MIN);
            prop_assert!(watch.settled_count() <= seq);
        }
    }
}

#[test]
fn a_tail_that_goes_back_passes_the_head_or_is_unaligned_is_counted_and_ignored() {
    let (mut producer, _watch, fds, mut consumer) = ring(CAPACITY_MIN);
    let cursor = File::from(fds.as_fds()[1].try_clone_to_owned().unwrap());
    let mut seq = 0;
    while push(&mut producer, seq, 240) {
        seq += 1;
    }
    consumer.try_next().unwrap().unwrap();
    let _ = consumer.advance(1);
    assert!(push(&mut producer, seq, 240));
    for (count, lie) in [0, CAPACITY_MIN + 272, 257, u64::MAX]
        .into_iter()
        .enumerate()
    {
        cursor
            .write_all_at(&u64::to_ne_bytes(lie), TAIL_AT as u64)
            .unwrap();
        assert!(producer.reserve(240).is_none(), "tail {lie}");
        assert_eq!(producer.lies(), count as u64 + 1);
    }
}

#[test]
fn a_reader_can_neither_write_nor_resize_the_data() {
    let (_producer, _watch, fds, _consumer) = ring(CAPACITY_MIN);
    let data = File::from(fds.as_fds()[0].try_clone_to_owned().unwrap());
    assert!(data.write_all_at(&[1], 0).is_err());
    assert!(data.set_len(0).is_err());
    assert!(data.set_len(1 << 20).is_err());
    assert!(memmap2::MmapOptions::new().map_raw(&data).is_err());
    let cursor = File::from(fds.as_fds()[1].try_clone_to_owned().unwrap());
    assert!(
        cursor.set_len(0).is_err(),
        "truncating the cursor would end the node by SIGBUS"
    );
}

#[test]
fn mappings_that_are_no_ring_are_refused() {
    let (_producer, _watch, fds) = create(CAPACITY_MIN, 0).unwrap();
    let [data, cursor, wake] = clone_fds(&fds);
    let swapped = Consumer::attach([cursor, data, wake]);
    assert!(swapped.is_err());
    let [data, _, wake] = clone_fds(&fds);
    let unsealed = OwnedFd::from(tempfile::tempfile().unwrap());
    assert!(Consumer::attach([data, unsealed, wake]).is_err());
}

#[test]
fn a_second_reader_goes_on_where_the_first_gave_back() {
    let (mut producer, _watch, fds, mut first) = ring(CAPACITY_MIN);
    for seq in 0..3 {
        assert!(push(&mut producer, seq, 30));
    }
    first.try_next().unwrap().unwrap();
    let _ = first.advance(1);
    first.try_next().unwrap().unwrap();
    drop(first);
    let mut second = Consumer::attach(clone_fds(&fds)).unwrap();
    assert_eq!(
        second.try_next().unwrap().unwrap().seq,
        1,
        "read but not given back: read again"
    );
    assert_eq!(second.try_next().unwrap().unwrap().seq, 2);
}

#[test]
fn a_node_whose_reader_is_gone_goes_on_until_the_ring_is_full() {
    let (mut producer, _watch, fds, consumer) = ring(CAPACITY_MIN);
    drop(consumer);
    let mut seq = 0;
    while push(&mut producer, seq, 100) {
        seq += 1;
    }
    assert_eq!(seq, CAPACITY_MIN / 128);
    let mut late = Consumer::attach(clone_fds(&fds)).unwrap();
    for expected in 0..seq {
        assert_eq!(late.try_next().unwrap().unwrap().seq, expected);
    }
}

/// Waits for the reader's wake-up; false after a second.
fn wait(consumer: &Consumer) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(consumer.wake_fd(), PollFlags::IN)];
    poll(
        &mut fds,
        Some(&Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        }),
    )
    .unwrap()
        > 0
}

#[test]
fn a_parked_reader_is_woken_and_a_running_one_is_not() {
    let (mut producer, _watch, _fds, mut consumer) = ring(CAPACITY_MIN);
    assert!(push(&mut producer, 0, 8));
    let none = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut poll_fds = [PollFd::from_borrowed_fd(consumer.wake_fd(), PollFlags::IN)];
    assert_eq!(
        poll(&mut poll_fds, Some(&none)).unwrap(),
        0,
        "nobody asked to be woken"
    );
    assert!(
        !consumer.is_idle_after_parking().unwrap(),
        "there is something to read"
    );
    consumer.on_wake();
    consumer.try_next().unwrap().unwrap();
    assert!(consumer.is_idle_after_parking().unwrap());
    assert!(push(&mut producer, 1, 8));
    assert!(wait(&consumer));
    consumer.on_wake();
    let mut poll_fds = [PollFd::from_borrowed_fd(consumer.wake_fd(), PollFlags::IN)];
    assert_eq!(
        poll(&mut poll_fds, Some(&none)).unwrap(),
        0,
        "the pipe is emptied"
    );
}

#[test]
fn two_threads_pass_every_record_without_losing_a_wake_up() {
    const RECORDS: u64 = 50_000;
    let (mut producer, watch, _fds, mut consumer) = ring(1 << 16);
    let reader = std::thread::spawn(move || {
        let mut expected = 0;
        while expected < RECORDS {
            let mut took = false;
            while let Some(record) = consumer.try_next().unwrap() {
                assert_eq!(record.seq, expected);
                assert_eq!(record.bytes, pattern(expected, (expected % 97) as usize));
                expected += 1;
                took = true;
            }
            if took {
                let _ = consumer.advance(expected);
            } else {
                if consumer.is_idle_after_parking().unwrap() {
                    assert!(wait(&consumer), "a wake-up was lost at {expected}");
                }
                consumer.on_wake();
            }
        }
    });
    for seq in 0..RECORDS {
        while !push(&mut producer, seq, (seq % 97) as usize) {
            std::thread::yield_now();
        }
        if seq % 5_000 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    reader.join().unwrap();
    assert_eq!(watch.settled_count(), RECORDS);
}

#[test]
fn descriptors_cross_a_socket_and_a_second_mapping_reads_the_ring() {
    let (mut producer, _watch, fds) = create(CAPACITY_MIN, 7).unwrap();
    let (node, worker) = UnixStream::pair().unwrap();
    send_fds(&node, b"ring", &fds.as_fds()).unwrap();
    let mut bytes = [0; 16];
    let (len, received) = receive_fds(&worker, &mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"ring");
    let mut consumer = Consumer::attach(received.try_into().unwrap()).unwrap();
    assert!(push(&mut producer, 7, 33));
    assert_eq!(consumer.try_next().unwrap().unwrap().bytes, pattern(7, 33));
    drop(node);
    assert_eq!(
        receive_fds(&worker, &mut bytes).unwrap().0,
        0,
        "a hang-up is no message"
    );
}
