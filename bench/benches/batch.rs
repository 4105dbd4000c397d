//! A batch's archive written behind a payload that is in place, and checked against its header: throughput is entries.
//!
//! Writing does not hash: the roots are in the header that it is given. Validating computes both.

use std::hint::black_box;

use criterion::Criterion;
use fairlane_bench::archives::Revealed;
use fairlane_bench::measure::{self, operation};
use fairlane_engine::batch::{BatchWriter, validate};

fn main() {
    measure::run(&[archiving]);
}

fn archiving(criterion: &mut Criterion) {
    let Revealed {
        header,
        entries,
        payload_len,
        mut buffer,
    } = Revealed::new(ENTRIES, ENTRY_LEN);
    let id = format!("entries={ENTRIES},payload={ENTRY_LEN}");
    operation(criterion, "batch::write", ENTRIES.into()).bench_function(&id, |bencher| {
        bencher.iter(|| {
            BatchWriter::new(black_box(&mut buffer), payload_len)
                .and_then(|writer| writer.finish(&header, black_box(&entries)))
        });
    });

    let written = BatchWriter::new(&mut buffer, payload_len)
        .and_then(|writer| writer.finish(&header, &entries));
    let archive = &buffer[..written.expect("the buffer has room for the archive")];
    operation(criterion, "batch::validate", ENTRIES.into()).bench_function(&id, |bencher| {
        bencher.iter(|| validate(black_box(archive)).is_ok());
    });
}

const ENTRIES: u32 = 256;
/// Bytes of payload in an entry.
const ENTRY_LEN: u32 = 128;
