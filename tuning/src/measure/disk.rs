//! How long 4 KiB take to the disk: written over in a file whose place is there already, and synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Collected, Times, on};

pub(super) fn sync(cpu: usize, folder: &Path, time: Duration) -> Result<Times, String> {
    on(cpu, || {
        write_over(folder, time)
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .finish()
    })
}

fn write_over(folder: &Path, time: Duration) -> io::Result<Collected> {
    let mut file = nameless(folder)?;
    // Zeroed and synced first: a node's journal fills its segments so, and no allocation is timed.
    file.write_all(&vec![0; BLOCK * BLOCKS])?;
    file.sync_all()?;
    let block = [7; BLOCK];
    let mut times = Collected::new();
    let end = Instant::now() + time;
    for place in (0..BLOCKS).cycle() {
        let start = Instant::now();
        if start >= end {
            break;
        }
        let offset = u64::try_from(place * BLOCK).expect("the file is small");
        file.write_all_at(&block, offset)?;
        file.sync_data()?;
        times.record(start.elapsed());
    }
    Ok(times)
}

/// A file that has no name any more, so that nothing stays behind however this ends.
fn nameless(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!(".fairlane-tuning-{}", std::process::id()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// The file system of a folder. Source of the numbers: Linux, linux/magic.h, and fs/xfs for xfs.
pub(super) fn kind_of(folder: &Path) -> String {
    match rustix::fs::statfs(folder).map(|found| found.f_type) {
        Ok(0xEF53) => "ext2, ext3 or ext4".to_owned(),
        Ok(0x5846_5342) => "xfs".to_owned(),
        Ok(0x9123_683E) => "btrfs".to_owned(),
        Ok(0x794C_7630) => "overlay, as in a container".to_owned(),
        Ok(0x0102_1994) => "tmpfs: in memory, it says nothing of a disk".to_owned(),
        Ok(other) => format!("a file system of type {other:#x}"),
        Err(errno) => format!("its file system cannot be told: {errno}"),
    }
}

const BLOCK: usize = 4096;
const BLOCKS: usize = 256;
