//! The processes of a local network: started, watched, killed on schedule, and never left behind.
//!
//! Every child dies with this process (the kernel sends it SIGTERM when its parent is gone), and dropping [`Children`]
//! kills and reaps what is still there.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// How long a child may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a child may take to stop when asked.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a child's log that are shown when it fails.
const LOG_SHOWN_MAX: u64 = 2_000;

/// One child process.
#[derive(Debug)]
pub struct Process {
    /// What it is called in messages.
    pub name: String,
    child: Child,
    log: PathBuf,
    ready: mpsc::Receiver<String>,
    cpu_us: u64,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts this program again with `arguments`; standard error goes to `log`.
    pub fn start(
        name: &str,
        arguments: &[&str],
        config: &Path,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        Self::start_program(&std::env::current_exe()?, name, arguments, config, log)
    }

    /// As [`Process::start`], of the program at `program`.
    pub fn start_program(
        program: &Path,
        name: &str,
        arguments: &[&str],
        config: &Path,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let log_file = std::fs::File::create(&log)?;
        let mut command = Command::new(program);
        command.args(arguments).arg(config).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(log_file);
        let die_with_parent = || Ok(set_parent_process_death_signal(Some(Signal::TERM))?);
        // SAFETY: between fork and exec the closure makes one system call and touches no memory of the parent.
        unsafe { command.pre_exec(die_with_parent) };
        // A group of its own: an interrupt typed at the terminal reaches this process only, which then stops its children.
        command.process_group(0);
        let mut child = command.spawn()?;
        let stdout = child
            .stdout
            .take()
            .expect("the output was asked to be piped");
        let ready = forward_lines(stdout);
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            ready,
            cpu_us: 0,
            ended: None,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the line `word` has come on the child's output since this was last asked, or waited for.
    pub fn has_said(&self, word: &str) -> bool {
        self.ready.try_iter().any(|line| line == word)
    }

    /// Waits for the line `word` on the child's output. Errors: it ended, or takes too long; with what it said.
    pub fn wait_until(&mut self, word: &str) -> anyhow::Result<()> {
        let until = Instant::now() + READY_TIMEOUT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.ready.recv_timeout(left) {
                Ok(line) if line == word => return Ok(()),
                Ok(_) => {}
                Err(_) => {
                    let words = self.last_words();
                    anyhow::bail!("{} did not start: {words}", self.name);
                }
            }
        }
    }

    /// The end of what it has logged so far.
    pub fn log(&self) -> String {
        read_end(&self.log).unwrap_or_default()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_some()
    }

    /// Kills it at once, as a crash would.
    pub fn kill(&mut self) {
        self.note_cpu();
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&mut self) {
        self.note_cpu();
        if !self.has_ended()
            && let Some(pid) = Pid::from_raw(self.child.id().cast_signed())
        {
            // It may end in between; then it has stopped.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits until it has ended; kills it if it takes too long. True if it ended well.
    pub fn wait_for_end(&mut self) -> bool {
        let until = Instant::now() + STOP_TIMEOUT;
        while !self.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !self.has_ended() {
            self.kill();
        }
        self.ended.is_some_and(|status| status.success())
    }

    /// Processor time so far, microseconds; after its end, as last seen before.
    pub fn cpu_us(&mut self) -> u64 {
        self.note_cpu();
        self.cpu_us
    }

    /// How it ended and the end of its log, in one line.
    pub fn last_words(&mut self) -> String {
        let how = if self.has_ended() {
            match self.ended {
                Some(status) => match (status.code(), status.signal()) {
                    (Some(code), _) => format!("exit status {code}"),
                    (None, Some(signal)) => format!("signal {signal}"),
                    (None, None) => "ended".to_owned(),
                },
                None => "ended".to_owned(),
            }
        } else {
            "it is still running".to_owned()
        };
        let log = read_end(&self.log).unwrap_or_default();
        let said: Vec<&str> = log
            .lines()
            .filter(|line| line.starts_with("fairlane:"))
            .collect();
        match said.last() {
            Some(line) => line.trim_start_matches("fairlane:").trim().to_owned(),
            None => format!("{how}; see {}", self.log.display()),
        }
    }

    fn note_cpu(&mut self) {
        if let Some(cpu_us) = read_cpu_us(self.child.id()) {
            self.cpu_us = self.cpu_us.max(cpu_us);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
    }
}

/// Hands on the lines of a child's output; the channel closes when the child ends.
fn forward_lines(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    // The thread ends with the child's output.
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens after the start; reading on keeps the child from blocking.
            let _ = sender.send(line);
        }
    });
    lines
}

/// User and system time of a process from /proc, microseconds; none once it is gone.
pub fn read_cpu_us(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold anything; what follows its closing parenthesis is plain.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Some((user + system) * 1_000_000 / ticks_per_second.max(1))
}

fn read_end(path: &Path) -> std::io::Result<String> {
    use std::io::{Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(LOG_SHOWN_MAX)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
