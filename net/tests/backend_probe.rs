//! Choosing a backend, and the journal's path, where io_uring is forbidden, as a container's seccomp profile does.

use std::thread;

use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};
use fairlane_net::backend::{BackendChoice, BackendKind, probe};
use fairlane_net::journal::{
    AppendChoice, AppendPath, Journal, JournalConfig, JournalIdentity, JournalReader, Kind, Record,
};

#[test]
fn a_seccomp_refusal_falls_back_to_mio_and_says_why() {
    without_io_uring(libc::EPERM, || {
        let chosen = probe(BackendChoice::Auto).unwrap();
        assert_eq!(chosen.kind, BackendKind::Mio);
        assert!(chosen.reason.contains("not permitted"), "{}", chosen.reason);
    });
}

#[test]
fn demanding_io_uring_where_it_is_forbidden_is_one_sentence_with_a_way_out() {
    without_io_uring(libc::EPERM, || {
        let error = probe(BackendChoice::Uring).unwrap_err().to_string();
        for hint in ["kernel.io_uring_disabled", "seccomp", "--backend mio"] {
            assert!(error.contains(hint), "{error}");
        }
        assert!(!error.contains('\n'), "{error}");
    });
}

#[test]
fn a_kernel_without_io_uring_is_told_apart() {
    without_io_uring(libc::ENOSYS, || {
        let error = probe(BackendChoice::Uring).unwrap_err().to_string();
        assert!(error.contains("kernel with io_uring"), "{error}");
        assert_eq!(probe(BackendChoice::Auto).unwrap().kind, BackendKind::Mio);
    });
}

#[test]
fn a_journal_that_may_not_use_io_uring_writes_by_the_plain_calls_or_says_what_to_do() {
    without_io_uring(libc::EPERM, || {
        let folder = tempfile::tempdir().unwrap();
        let identity = JournalIdentity {
            chain_id: ChainId(7),
            authority: AuthorityIndex(0),
        };
        let mut config = JournalConfig::new(folder.path(), identity);
        config.append = AppendChoice::Uring;
        let refused = Journal::<Vec<u8>>::start(&config, || {}).unwrap_err();
        let words = refused.to_string();
        assert!(words.contains("journal_backend") && words.contains("not permitted"));
        config.append = AppendChoice::Auto;
        let mut journal = Journal::start(&config, || {}).unwrap();
        let chosen = journal.append_path().unwrap();
        assert_eq!(chosen.path, AppendPath::Plain);
        assert!(chosen.reason.contains("not permitted"), "{}", chosen.reason);
        let record = Record {
            kind: Kind::Envelope,
            epoch: Epoch(0),
            body: vec![1; 100],
        };
        assert_eq!(journal.try_push(record), Ok(0));
        assert_eq!(journal.stop().unwrap().syncs, 1);
        let end = JournalReader::open(folder.path()).unwrap().into_end();
        assert_eq!(end.unwrap().records, 1);
    });
}

#[test]
fn mio_as_asked_for_needs_no_probe() {
    let chosen = probe(BackendChoice::Mio).unwrap();
    assert_eq!(chosen.kind, BackendKind::Mio);
}

#[test]
fn choices_are_read_as_they_are_written() {
    for choice in [
        BackendChoice::Auto,
        BackendChoice::Uring,
        BackendChoice::Mio,
    ] {
        assert_eq!(choice.to_string().parse::<BackendChoice>().unwrap(), choice);
    }
    let error = "epoll".parse::<BackendChoice>().unwrap_err().to_string();
    assert!(
        error.contains("\"epoll\"") && error.contains("mio"),
        "{error}"
    );
}

/// Runs `test` on a thread where io_uring_setup fails with `errno`. The filter ends with the thread.
fn without_io_uring(errno: i32, test: fn()) {
    let thread = thread::spawn(move || {
        forbid_io_uring(errno);
        test();
    });
    assert!(thread.join().is_ok(), "the assertion above failed");
}

fn forbid_io_uring(errno: i32) {
    let refusal = libc::SECCOMP_RET_ERRNO | errno as u32;
    // Load the system call's number; refuse io_uring_setup, allow the rest.
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, refusal),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: no pointers are passed.
    let quiet = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(quiet, 0);
    // SAFETY: the program and its filter live through the call, which copies them; it binds this thread only.
    let installed = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    assert_eq!(installed, 0, "{}", std::io::Error::last_os_error());
}

fn statement(code: u32, jump_true: u8, jump_false: u8, operand: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: jump_true,
        jf: jump_false,
        k: operand,
    }
}
