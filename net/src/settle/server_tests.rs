//! Claims about what the server keeps.

use std::io::Write as _;

use fairlane_engine::types::Epoch;

use super::super::tests::{CHAIN, ROLLUP, wait_until};
use super::*;
use crate::ring::CAPACITY_DEFAULT;

#[test]
fn what_a_worker_leaves_is_taken_apart_though_nobody_else_comes_or_goes() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        socket: folder.path().join("socket"),
        chain_id: CHAIN,
        rollups: vec![ROLLUP],
        ring_bytes: CAPACITY_DEFAULT,
    };
    // Each loader holds one for as long as it is there.
    let loaders = Arc::new(());
    let (data, counted) = (folder.path().to_path_buf(), Arc::clone(&loaders));
    let make_loader: MakeLoader = Box::new(move || {
        let held = Arc::clone(&counted);
        BatchLoader::start(&data, Epoch(0), move || {
            let _ = &held;
        })
    });
    let server = SettleServer::start(config, make_loader, || ()).unwrap();
    let nobody = Arc::strong_count(&loaders);
    let mut worker = UnixStream::connect(folder.path().join("socket")).unwrap();
    let hello = Hello {
        chain_id: CHAIN,
        rollup_id: ROLLUP,
        settled: 0,
    };
    worker.write_all(&hello.encode()).unwrap();
    let mut attachment = None;
    wait_until("attached", || {
        attachment = server.try_attached();
        attachment.is_some()
    });
    let attachment = attachment.unwrap();
    assert_eq!(Arc::strong_count(&loaders), nobody + 1);
    drop(worker);
    wait_until("it is gone", || !attachment.link.is_up());
    // The server's thread has nothing more to do for it.
    std::thread::sleep(Duration::from_millis(20));
    server.retire(attachment.producer, attachment.loader);
    wait_until("taken apart", || Arc::strong_count(&loaders) == nobody);
}
