//! The node's side of settlement: hands the ring to one worker at a time, and tells the node what is settled.
//!
//! Its own thread, so that the core thread only ever touches the ring's producer. A worker that dies is seen as a hang-up
//! and may be replaced; a client that says nothing, or nonsense, is dropped and holds up nobody but itself.

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fairlane_engine::types::{ChainId, RollupId};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use super::SettleError;
use super::handshake::{Answer, HELLO_LEN, Hello};
use crate::ring::{RingFds, RingWatch, send_fds};

/// What the server needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen; only the user who runs the node may connect.
    pub socket: PathBuf,
    /// The chain that the node serves.
    pub chain_id: ChainId,
    /// The rollups that it serves.
    pub rollups: Vec<RollupId>,
}

/// The listening server; dropping it hangs up on the worker, which then drains the ring and ends.
#[derive(Debug)]
pub struct SettleServer {
    watch: RingWatch,
    attached: Arc<AtomicBool>,
    /// What the first worker had settled, plus one; 0 before it came.
    first_settled: Arc<AtomicU64>,
    socket: PathBuf,
    /// Closing it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl SettleServer {
    /// Starts to listen. `on_settled` is called on the server's thread with the settled count whenever the worker reports
    /// progress; it should only store and wake.
    ///
    /// A socket file that nobody listens on is replaced. Errors: somebody does, or the system refuses.
    pub fn start(
        config: ServerConfig,
        fds: RingFds,
        watch: RingWatch,
        on_settled: impl Fn(u64) + Send + 'static,
    ) -> Result<Self, SettleError> {
        let socket = config.socket.clone();
        let failed = |source| {
            let path = socket.clone();
            SettleError::Socket {
                what: "listening on",
                path,
                source,
            }
        };
        let listener = bind(&config.socket).map_err(failed)?;
        let (stopped, stop) = io::pipe().map_err(failed)?;
        let attached = Arc::new(AtomicBool::new(false));
        let first_settled = Arc::new(AtomicU64::new(0));
        let server = Server {
            config,
            listener,
            stopped,
            fds,
            watch: watch.clone(),
            attached: Arc::clone(&attached),
            first_settled: Arc::clone(&first_settled),
            worker: None,
            on_settled,
        };
        let thread = std::thread::Builder::new()
            .name("settle".into())
            .spawn(move || server.run())
            .map_err(failed)?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self {
            watch,
            attached,
            first_settled,
            socket,
            stop,
            thread,
        })
    }

    /// The worker has settled every seq below this.
    pub fn settled_count(&self) -> u64 {
        self.watch.settled_count()
    }

    /// Up to which seq the first worker that ever came had settled; none before it came.
    pub fn first_settled(&self) -> Option<u64> {
        self.first_settled.load(Ordering::Acquire).checked_sub(1)
    }

    /// Whether a worker is attached.
    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }
}

impl Drop for SettleServer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic on what it is sent; if the node's hook did, its message is on stderr.
            let _ = thread.join();
        }
        // A file that somebody else has removed already is what is wanted.
        let _ = std::fs::remove_file(&self.socket);
    }
}

struct Server<F> {
    config: ServerConfig,
    listener: UnixListener,
    stopped: PipeReader,
    fds: RingFds,
    watch: RingWatch,
    attached: Arc<AtomicBool>,
    first_settled: Arc<AtomicU64>,
    worker: Option<UnixStream>,
    on_settled: F,
}

impl<F: Fn(u64)> Server<F> {
    fn run(mut self) {
        loop {
            let Ok([stopped, incoming, worker]) = self.wait() else {
                // Only a lack of kernel memory makes poll fail here: the worker is hung up on, and may come back.
                self.detach();
                std::thread::sleep(RETRY_AFTER);
                continue;
            };
            if stopped {
                return;
            }
            if worker {
                self.on_worker();
            }
            if incoming {
                self.on_incoming();
            }
        }
    }

    /// Waits; says whether to stop, whether somebody connects, and whether the worker has something.
    fn wait(&self) -> io::Result<[bool; 3]> {
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.stopped.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
        ];
        if let Some(worker) = &self.worker {
            fds.push(PollFd::from_borrowed_fd(worker.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok([false; 3]),
            Err(errno) => return Err(errno.into()),
        }
        let has = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok([has(0), has(1), has(2)])
    }

    /// Wake-ups of the worker, or its end.
    fn on_worker(&mut self) {
        let Some(worker) = self.worker.as_mut() else {
            return;
        };
        // How many bytes came says nothing: the cursor does. What is left is read the next time round.
        let mut bytes = [0; 256];
        match worker.read(&mut bytes) {
            Ok(0) => self.detach(),
            Ok(_) => {}
            Err(error) if is_transient(&error) => {}
            Err(_) => self.detach(),
        }
        (self.on_settled)(self.watch.settled_count());
    }

    fn on_incoming(&mut self) {
        match self.listener.accept() {
            // Who is refused is told if it listens; what it makes of that is its own affair.
            Ok((client, _)) => {
                if let Ok(Some(settled)) = self.greet(&client) {
                    self.worker = Some(client);
                    self.attached.store(true, Ordering::Release);
                    if self.first_settled.load(Ordering::Acquire) == 0 {
                        let said = settled.saturating_add(1);
                        self.first_settled.store(said, Ordering::Release);
                    }
                    // The node may have batches for it.
                    (self.on_settled)(self.watch.settled_count());
                }
            }
            Err(error) if is_transient(&error) => {}
            // Too many open files, as a rule: without a pause this would spin.
            Err(_) => std::thread::sleep(RETRY_AFTER),
        }
    }

    /// Answers a client; what it has settled, when it is the worker from now on.
    fn greet(&self, client: &UnixStream) -> io::Result<Option<u64>> {
        client.set_read_timeout(Some(HELLO_TIMEOUT))?;
        client.set_write_timeout(Some(HELLO_TIMEOUT))?;
        // The file's mode says the same; this holds on systems, too, that do not check it.
        if socket_peercred(client)?.uid != geteuid() {
            return Ok(None);
        }
        let (answer, settled) = self.judge(client);
        match answer {
            Answer::Welcome => send_fds(client, &answer.encode(), &self.fds.as_fds())?,
            _ => send_fds(client, &answer.encode(), &[])?,
        }
        client.set_nonblocking(true)?;
        Ok((answer == Answer::Welcome).then_some(settled))
    }

    /// What to answer, and what the client has settled.
    fn judge(&self, mut client: &UnixStream) -> (Answer, u64) {
        // Before its hello is read: waiting for it would delay the notices of the worker that is attached.
        if self.worker.is_some() {
            return (Answer::Busy, 0);
        }
        let mut bytes = [0; HELLO_LEN];
        let hello = client
            .read_exact(&mut bytes)
            .ok()
            .and_then(|()| Hello::decode(&bytes).ok());
        let Some(hello) = hello else {
            return (Answer::Malformed, 0);
        };
        let answer = if hello.chain_id != self.config.chain_id {
            Answer::WrongChain
        } else if !self.config.rollups.contains(&hello.rollup_id) {
            Answer::UnknownRollup
        } else if hello.settled < self.watch.settled_count() {
            // What it lacks left the ring when it was settled.
            Answer::Behind
        } else {
            Answer::Welcome
        };
        (answer, hello.settled)
    }

    fn detach(&mut self) {
        self.worker = None;
        self.attached.store(false, Ordering::Release);
    }
}

/// Listens at `path`, replacing a socket file that a dead node left, for this user only.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    // Only a socket is removed: a wrong path in a configuration must not cost a file.
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// How long a client may take to say hello, while no worker is attached.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_millis(50);
