//! Running out of descriptors. A test of its own process, because the limit is the whole process's.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use fairlane_net::backend::{
    Backend, BackendChoice, BackendConfig, BackendKind, Event, ListenLimits, ListenerTag, open,
    probe,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn a_backend_without_descriptors_waits_and_accepts_when_there_are_some() {
    waits_and_accepts(BackendKind::Mio);
    match probe(BackendChoice::Uring) {
        Ok(chosen) => waits_and_accepts(chosen.kind),
        Err(error) => {
            // Past the capture of the test harness: nobody should take this for tested.
            let _ = writeln!(std::io::stderr(), "SKIPPED uring: {error}");
        }
    }
}

fn waits_and_accepts(kind: BackendKind) {
    const CLIENTS: usize = 10;
    const LEFT: u64 = 3;
    let mut backend = open(kind, BackendConfig::default()).unwrap();
    let limits = ListenLimits {
        connections_max: 100,
        send_queue_bytes_max: 1000,
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = backend.listen(any, ListenerTag(0), limits).unwrap();
    // They are connected once the kernel has them in its queue, before anybody accepts.
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();

    let before = getrlimit(Resource::Nofile);
    let lowest_free = File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let tight = Rlimit {
        current: Some(lowest_free + LEFT),
        ..before
    };
    setrlimit(Resource::Nofile, tight).unwrap();
    let (mut accepted, mut polls) = (0, 0);
    let mut poll = |backend: &mut dyn Backend| {
        let timeout = Some(Duration::from_millis(100));
        let mut count = |event: Event<'_>| {
            accepted += u32::from(matches!(event, Event::Accepted { .. }));
        };
        backend.poll(timeout, &mut count).unwrap();
        accepted
    };
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(400) {
        poll(&mut *backend);
        polls += 1;
    }
    let errors = backend.counters().accept_errors;
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(
        (1..=20).contains(&errors),
        "{errors} errors: it gave up or spun"
    );
    assert!(polls <= 40, "{polls} polls in 400 ms: it spun");
    assert!(poll(&mut *backend) >= LEFT as u32);
    let give_up = Instant::now() + Duration::from_secs(20);
    while poll(&mut *backend) < CLIENTS as u32 {
        assert!(Instant::now() < give_up, "{kind} never accepted the rest");
    }
    drop(clients);
}
