//! Files that a run writes when it is over, looked at before it begins.

use std::path::Path;

/// Refuses a file that could not be written, before anything runs for it; `flag` named it. Errors: a sentence.
pub fn check_output(flag: &str, path: &Path) -> Result<(), String> {
    let shown = path.display();
    if path.is_dir() {
        return Err(format!("{flag} {shown}: that is a folder, name a file"));
    }
    let folder = path.parent();
    match folder.filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if !folder.is_dir() => Err(format!(
            "{flag} {shown}: there is no folder {}",
            folder.display()
        )),
        _ => Ok(()),
    }
}
