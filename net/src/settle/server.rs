//! The node's side of settlement: takes workers in, each with a ring of its own, and wakes the core stage for them.
//!
//! Its own thread, so that the core thread only ever touches the rings' producers. A worker that dies is seen as a hang-up
//! and may come back; a client that says nothing, or nonsense, is dropped and holds up nobody but itself.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlane_engine::types::{ChainId, RollupId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use super::SettleError;
use super::attach::{Attacher, Attachment, Connection, MakeLoader, Offers, Seat};
use super::handshake::{Answer, HELLO_LEN, Hello};
use super::remote::{RemoteCounts, RemoteFigures, RemoteServer, WorkerKeys};
use crate::journal::BatchLoader;
use crate::ring::{Producer, send_fds};

/// What the server needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen; only the user who runs the node may connect.
    pub socket: PathBuf,
    /// The chain that the node serves.
    pub chain_id: ChainId,
    /// The rollups that it serves.
    pub rollups: Vec<RollupId>,
    /// Bytes of records in each worker's ring.
    pub ring_bytes: u64,
}

/// The listening server; dropping it hangs up on the workers, which then drain their rings and end.
pub struct SettleServer {
    /// Goes first: its workers are the attacher's, too.
    remote: Option<RemoteServer>,
    remote_counts: Arc<RemoteCounts>,
    attacher: Arc<Attacher>,
    offers: Offers,
    socket: PathBuf,
    /// A byte has the thread take apart what has retired; closing it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl SettleServer {
    /// Starts to listen. `make_loader` makes what reads a worker's missed batches; `wake` is called on the server's thread
    /// whenever a worker comes, goes, or reports progress; it should only wake.
    ///
    /// A socket file that nobody listens on is replaced. Errors: somebody does, or the system refuses.
    pub fn start(
        config: ServerConfig,
        make_loader: MakeLoader,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, SettleError> {
        let ServerConfig {
            socket,
            chain_id,
            rollups,
            ring_bytes,
        } = config;
        let failed = |source| {
            let path = socket.clone();
            SettleError::Socket {
                what: "listening on",
                path,
                source,
            }
        };
        let listener = bind(&socket).map_err(failed)?;
        let (told, stop) = io::pipe().map_err(failed)?;
        let wake = Box::new(wake);
        let (attacher, offers) = Attacher::new(chain_id, rollups, ring_bytes, make_loader, wake);
        let server = Server {
            attacher: Arc::clone(&attacher),
            listener,
            told,
            greeters: Vec::new(),
            workers: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("settle".into())
            .spawn(move || server.run())
            .map_err(failed)?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self {
            remote: None,
            remote_counts: Arc::default(),
            attacher,
            offers,
            socket,
            stop,
            thread,
        })
    }

    /// Takes workers in that come over TCP, too, and know one of `keys`.
    ///
    /// Errors: the address is in use, or the system refuses.
    pub fn listen(&mut self, address: SocketAddr, keys: WorkerKeys) -> Result<(), SettleError> {
        let (attacher, counts) = (Arc::clone(&self.attacher), Arc::clone(&self.remote_counts));
        let started = RemoteServer::start(address, keys, attacher, counts);
        let started = started.map_err(|source| SettleError::Node {
            what: "listening for workers at",
            address,
            source,
        });
        self.remote = Some(started?);
        Ok(())
    }

    /// Where workers come over TCP.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.remote.as_ref().map(RemoteServer::address)
    }

    /// What became of connections there.
    pub fn remote_figures(&self) -> RemoteFigures {
        self.remote_counts.figures()
    }

    /// The next worker that has come.
    pub fn try_attached(&self) -> Option<Attachment> {
        self.offers.attachments.try_recv().ok()
    }

    /// Whether a worker is attached.
    pub fn is_attached(&self) -> bool {
        self.attacher.seated() > 0
    }

    /// Batches below `seq` are not to be had any more: who needs one of them is refused.
    pub fn note_absent_below(&self, seq: u64) {
        self.attacher.note_absent_below(seq);
    }

    /// Takes back what a worker that is gone was fed with.
    pub fn retire(&self, producer: Producer, loader: BatchLoader) {
        self.offers.retire(producer, loader);
        // A ring and its loader's thread are not kept until somebody else comes or goes. One that never fills: a byte a worker.
        if let Some(mut thread) = self.stop.as_ref() {
            let _ = thread.write(&[0]);
        }
    }
}

impl Drop for SettleServer {
    fn drop(&mut self) {
        self.remote = None;
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic on what it is sent; if the node's hook did, its message is on stderr.
            let _ = thread.join();
        }
        // A file that somebody else has removed already is what is wanted.
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl std::fmt::Debug for SettleServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SettleServer")
            .field("socket", &self.socket)
            .field("workers", &self.attacher.seated())
            .finish_non_exhaustive()
    }
}

struct Server {
    attacher: Arc<Attacher>,
    listener: UnixListener,
    told: PipeReader,
    greeters: Vec<Greeter>,
    workers: Vec<Worker>,
}

/// A client that has not said hello yet.
struct Greeter {
    socket: UnixStream,
    until: Instant,
    bytes: [u8; HELLO_LEN],
    len: usize,
}

struct Worker {
    socket: UnixStream,
    _seat: Seat,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The core stage holds the connection, too. One that has hung up itself is hung up on already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// What a wait ended with.
#[derive(Default)]
struct Ready {
    told: bool,
    incoming: bool,
    greeters: Vec<bool>,
    workers: Vec<bool>,
}

impl Server {
    fn run(mut self) {
        loop {
            let Ok(ready) = self.wait() else {
                // Only a lack of kernel memory makes poll fail here: all are hung up on, and may come back.
                self.greeters.clear();
                self.workers.clear();
                std::thread::sleep(RETRY_AFTER);
                continue;
            };
            // Without a byte it is the end.
            if ready.told && !matches!(self.told.read(&mut [0; 64]), Ok(1..)) {
                return;
            }
            self.hear_workers(&ready.workers);
            self.hear_greeters(&ready.greeters);
            if ready.incoming {
                self.on_incoming();
            }
            self.attacher.sweep();
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.told.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
        ];
        let greeters = self.greeters.iter().map(|greeter| greeter.socket.as_fd());
        let workers = self.workers.iter().map(|worker| worker.socket.as_fd());
        let both = greeters.chain(workers);
        fds.extend(both.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let until = self.greeters.iter().map(|greeter| greeter.until).min();
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || ready.next().unwrap_or(false);
        Ok(Ready {
            told: next(),
            incoming: next(),
            greeters: self.greeters.iter().map(|_| next()).collect(),
            workers: self.workers.iter().map(|_| next()).collect(),
        })
    }

    /// Wake-ups of workers, and their ends.
    fn hear_workers(&mut self, ready: &[bool]) {
        let mut has_progress = false;
        let mut ready = ready.iter();
        self.workers.retain_mut(|worker| {
            if !ready.next().copied().unwrap_or(false) {
                return true;
            }
            has_progress = true;
            // How many bytes came says nothing: the cursor does. What is left is read the next time round.
            let mut bytes = [0; 256];
            match worker.socket.read(&mut bytes) {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => is_transient(&error),
            }
        });
        if has_progress {
            self.attacher.wake();
        }
    }

    /// Takes in whoever has said hello, and lets go of who does not.
    fn hear_greeters(&mut self, ready: &[bool]) {
        let now = Instant::now();
        let mut ready = ready.iter();
        for mut greeter in std::mem::take(&mut self.greeters) {
            let is_ready = ready.next().copied().unwrap_or(false);
            let heard = is_ready.then(|| greeter.read());
            match heard {
                None | Some(Heard::Part) if now < greeter.until => self.greeters.push(greeter),
                Some(Heard::Whole) => self.on_hello(greeter),
                None | Some(Heard::Part | Heard::End) => refuse(&greeter.socket, Answer::Malformed),
            }
        }
    }

    fn on_incoming(&mut self) {
        match self.listener.accept() {
            Ok((socket, _)) => {
                if socket.set_nonblocking(true).is_err() || !is_own_user(&socket) {
                    return;
                }
                if self.greeters.len() == GREETERS_MAX {
                    refuse(&socket, Answer::Busy);
                    return;
                }
                self.greeters.push(Greeter {
                    socket,
                    until: Instant::now() + HELLO_TIMEOUT,
                    bytes: [0; HELLO_LEN],
                    len: 0,
                });
            }
            Err(error) if is_transient(&error) => {}
            // Too many open files, as a rule: without a pause this would spin.
            Err(_) => std::thread::sleep(RETRY_AFTER),
        }
    }

    fn on_hello(&mut self, greeter: Greeter) {
        let Greeter { socket, bytes, .. } = greeter;
        let Ok(hello) = Hello::decode(&bytes) else {
            return refuse(&socket, Answer::Malformed);
        };
        match self.attacher.judge(&hello) {
            Answer::Welcome => {}
            answer => return refuse(&socket, answer),
        }
        let Some(seat) = self.attacher.try_seat() else {
            return refuse(&socket, Answer::Busy);
        };
        let attached = socket
            .try_clone()
            .ok()
            .map(|held| (self.attacher).attach(&seat, &hello, Connection::Unix(held)));
        match attached {
            Some(Ok(Some(fds))) => {
                // One that does not listen is gone, and its seat with it.
                let greeted = send_fds(&socket, &Answer::Welcome.encode(), &fds.as_fds());
                if greeted.is_ok() {
                    self.workers.push(Worker {
                        socket,
                        _seat: seat,
                    });
                }
            }
            Some(Ok(None)) => refuse(&socket, Answer::Busy),
            Some(Err(error)) => {
                eprintln!("warning: a settlement worker cannot be served: {error}");
                refuse(&socket, Answer::Busy);
            }
            None => {}
        }
    }
}

/// What a greeter has said.
enum Heard {
    Part,
    Whole,
    End,
}

impl Greeter {
    fn read(&mut self) -> Heard {
        match self.socket.read(&mut self.bytes[self.len..]) {
            Ok(0) => Heard::End,
            Ok(len) => {
                self.len += len;
                if self.len == HELLO_LEN {
                    Heard::Whole
                } else {
                    Heard::Part
                }
            }
            Err(error) if is_transient(&error) => Heard::Part,
            Err(_) => Heard::End,
        }
    }
}

/// Tells a client that it is not taken; what it makes of that is its own affair.
fn refuse(socket: &UnixStream, answer: Answer) {
    let _ = send_fds(socket, &answer.encode(), &[]);
}

/// The socket's mode says the same; this holds on systems, too, that do not check it.
fn is_own_user(socket: &UnixStream) -> bool {
    socket_peercred(socket).is_ok_and(|peer| peer.uid == geteuid())
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

/// Clients that have connected and not said hello.
const GREETERS_MAX: usize = 16;
/// How long a client may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_millis(50);

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
