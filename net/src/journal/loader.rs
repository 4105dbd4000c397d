//! The thread that reads settled batches from the journal for peers that missed them: the core never waits for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use fairlane_engine::sync::loads::LOADS_MAX;
use fairlane_engine::sync::part::Item;
use fairlane_engine::types::Epoch;

use super::JournalError;
use super::batches::BatchReader;

/// What was read: none when it is not there.
type Loaded = (Item, Option<Arc<[u8]>>);

/// The owner's end. Dropping it ends the thread once what it is reading is read.
#[derive(Debug)]
pub struct BatchLoader {
    /// None once the thread is to end.
    asked: Option<SyncSender<Item>>,
    /// None when it does not matter any more.
    loaded: Option<Receiver<Loaded>>,
    thread: Option<JoinHandle<()>>,
    /// What the thread has not got: it has ended, or more was asked for than may be.
    refused: Vec<Item>,
}

impl BatchLoader {
    /// Reads batches of `epoch` from the journal in `folder`. `wake` is called when something was read.
    ///
    /// Errors: the system gives no thread.
    pub fn start(
        folder: &Path,
        epoch: Epoch,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, JournalError> {
        // As many as the engine has unanswered at a time: neither end ever waits.
        let (asked, asks) = sync_channel(LOADS_MAX);
        let (answers, loaded) = sync_channel(LOADS_MAX);
        let mut reader = BatchReader::new(folder, epoch);
        let thread = std::thread::Builder::new()
            .name("loader".into())
            .spawn(move || run(&mut reader, &asks, &answers, wake))
            .map_err(JournalError::Thread)?;
        Ok(Self {
            asked: Some(asked),
            loaded: Some(loaded),
            thread: Some(thread),
            refused: Vec::new(),
        })
    }

    /// Has an item read. Never waits.
    pub fn ask(&mut self, item: Item) {
        let is_asked = self
            .asked
            .as_ref()
            .is_some_and(|asked| asked.try_send(item).is_ok());
        if !is_asked {
            self.refused.push(item);
        }
    }

    /// The next item that was read, or could not be.
    pub fn try_take(&mut self) -> Option<Loaded> {
        let loaded = self
            .loaded
            .as_ref()
            .and_then(|loaded| loaded.try_recv().ok());
        loaded.or_else(|| self.refused.pop().map(|item| (item, None)))
    }
}

impl Drop for BatchLoader {
    fn drop(&mut self) {
        (self.asked, self.loaded) = (None, None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    reader: &mut BatchReader,
    asks: &Receiver<Item>,
    answers: &SyncSender<Loaded>,
    wake: impl Fn(),
) {
    let mut has_failed = false;
    for item in asks {
        let bytes = reader.load(item).unwrap_or_else(|error| {
            // The journal's own thread stops the node where the disk fails for good; a peer finds another one.
            if !std::mem::replace(&mut has_failed, true) {
                eprintln!("warning: old batches cannot be read for peers: {error}");
            }
            None
        });
        if answers.send((item, bytes)).is_err() {
            return;
        }
        wake();
    }
}
