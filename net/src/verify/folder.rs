//! Which journals lie in a folder.

use std::path::{Path, PathBuf};

use crate::journal::JournalSurvey;
use crate::settle::SettleSurvey;

/// Folders with journals.
#[derive(Debug)]
pub(super) struct Sources {
    /// Of nodes; at least one.
    pub(super) nodes: Vec<PathBuf>,
    /// Of settlement workers.
    pub(super) workers: Vec<PathBuf>,
}

impl Sources {
    /// A folder that is a node's own, or those below it. Errors: there is no node's journal.
    pub(super) fn find(data: &Path) -> anyhow::Result<Self> {
        let shown = data.display();
        let entries = std::fs::read_dir(data).map_err(|error| {
            anyhow::anyhow!("{shown} is not a folder that can be read: {error}")
        })?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort_by_key(|path| in_order(path));
        folders.insert(0, data.to_path_buf());
        let holding = |is_there: fn(&Path) -> bool| -> Vec<PathBuf> {
            let found = folders.iter().filter(|path| is_there(path));
            found.cloned().collect()
        };
        let found = Self {
            nodes: holding(JournalSurvey::is_there),
            workers: holding(SettleSurvey::is_there),
        };
        anyhow::ensure!(
            !found.nodes.is_empty() || found.workers.is_empty(),
            "{shown} holds a settlement worker's journal and no node's: name the folder that holds both, since what was \
             settled is held to what a node recorded"
        );
        anyhow::ensure!(
            !found.nodes.is_empty(),
            "{shown} holds no node's journal: name a node's data folder, or what `localnet --data` made"
        );
        Ok(found)
    }
}

/// node-2 before node-10.
fn in_order(path: &Path) -> (String, u64, PathBuf) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (stem, number) = name.split_at(name.len() - digits);
    let number = number.parse().unwrap_or(0);
    (stem.to_owned(), number, path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_taken_in_the_order_of_their_numbers() {
        let mut paths = ["d/node-10", "d/settle-1", "d/node-2", "d/node-0"].map(PathBuf::from);
        paths.sort_by_key(|path| in_order(path));
        let names = ["d/node-0", "d/node-2", "d/node-10", "d/settle-1"];
        assert_eq!(paths, names.map(PathBuf::from));
    }
}
