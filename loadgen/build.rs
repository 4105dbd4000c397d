//! Names the commit that a binary was built from, for reports.

use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).map(|commit| {
        let is_changed = git(&["status", "--porcelain", "--untracked-files=no"])
            .is_some_and(|changes| !changes.is_empty());
        if is_changed {
            format!("{commit}+changes")
        } else {
            commit
        }
    });
    println!(
        "cargo::rustc-env=FAIRLANE_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
    if let Some(folder) = git(&["rev-parse", "--absolute-git-dir"]) {
        println!("cargo::rerun-if-changed={folder}/HEAD");
        println!("cargo::rerun-if-changed={folder}/index");
    }
}
