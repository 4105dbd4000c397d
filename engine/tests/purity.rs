//! Holds the engine to its own header: no socket, file, thread, clock, ambient randomness, random iteration order, float
//! (but for whole numbers in one place), unsafe code or output in it, and no sibling crate among what it depends on.
//!
//! Reads the sources as tokens, so that comments and text do not count, and leaves out what is compiled for tests only.
//! It does not see through macros of other crates; clippy.toml bans the same types where the compiler resolves names.

#[path = "purity/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use source::{Tokens as _, tokens_of};

/// Modules of `std` and `core` that reach outside.
const MODULES: [&str; 8] = [
    "net",
    "fs",
    "thread",
    "env",
    "process",
    "os",
    "sync::mpsc",
    "time",
];

/// Names that no code of the engine may hold, wherever they come from.
const NAMES: [&str; 19] = [
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "rand",
    "rand_core",
    "getrandom",
    "OsRng",
    "SysRng",
    "ThreadRng",
    "thread_local",
    "unsafe",
    "f32",
    "f64",
    "println",
    "eprintln",
    "print",
    "eprint",
];

/// Where floats are allowed: lanes that hold whole numbers in them, each product and sum exact and so the same everywhere,
/// held to the portable code by tests (`curve/avx2/four.rs`, J1 to J3).
const WHOLE_IN_FLOATS: [&str; 3] = ["avx2.rs", "avx2/four.rs", "avx2/rows.rs"];

#[test]
fn the_engine_knows_no_socket_file_thread_clock_or_chance() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources = rust_files(&root);
    assert!(sources.len() > 30, "found only {} files", sources.len());
    let test_only = test_only_files(&sources);
    assert!(
        test_only.iter().any(|path| path.ends_with("dag/drawn.rs")),
        "files of tests are known: {test_only:?}"
    );
    let floats = WHOLE_IN_FLOATS.map(|file| root.join("curve").join(file));
    for file in &floats {
        assert!(sources.contains(file), "{} is gone", file.display());
    }
    let mut found = Vec::new();
    for path in sources.iter().filter(|path| !test_only.contains(*path)) {
        let holds_floats = floats.contains(path);
        for (line, what) in violations(&read(path)) {
            if holds_floats && (what == "f64" || what.starts_with("the float ")) {
                continue;
            }
            found.push(format!("{}:{line}: {what}", path.display()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_engine_depends_on_no_sibling() {
    let manifest = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    assert_eq!(siblings(&manifest), Vec::<String>::new());
    for planted in [
        "fairlane-net.workspace = true",
        "shell = { path = \"../net\" }",
        "[dev-dependencies.fairlane-loadgen]",
    ] {
        let manifest = format!("{manifest}\n[dependencies]\n{planted}\n");
        assert_eq!(siblings(&manifest).len(), 1, "{planted}");
    }
}

#[test]
fn a_planted_line_would_be_found() {
    for planted in [
        "use std::net::TcpStream;",
        "use std::{collections::BTreeMap, fs, fmt};",
        "use std::{collections::{BTreeMap, HashMap}, fmt};",
        "fn f() { std::thread::sleep(d) }",
        "use core :: time :: Duration ;",
        "use std::fs as files;",
        "use std::os::*;",
        "fn now() -> u64 { Instant::now().elapsed().as_micros() as u64 }",
        "fn now() { SystemTime::now(); }",
        "fn f() { let x = rand::random::<u64>(); }",
        "fn f() { getrandom::fill(&mut bytes); }",
        "use std::collections::HashSet;",
        "fn f(p: *const u8) -> u8 { unsafe { *p } }",
        "struct S { weight: f64 }",
        "fn f() { let mean = 0.5; }",
        "fn f() { let big = 1e9; }",
        "fn f() { let x = 2f32; }",
        "fn f() { println!(\"x\"); }",
        "fn f() { eprintln!(\"x\"); }",
        "#[cfg(not(test))]\nfn f() { eprintln!(\"x\"); }",
    ] {
        assert_eq!(violations(planted).len(), 1, "{planted}");
        let in_test = "#[cfg(test)]\nmod tests { fn f() { '{'; \"}\"; } }";
        let as_comment = planted.replace('\n', " ");
        let behind = format!("{in_test}\n/// {as_comment}\n{planted}");
        assert_eq!(violations(&behind).len(), 1, "{behind}");
    }
}

#[test]
fn comments_text_and_tests_do_not_count() {
    for innocent in [
        "// use std::net::TcpStream;",
        "/* outer /* unsafe */ HashMap */ fn f() {}",
        "fn f() -> &'static str { \"unsafe { std::fs }\" }",
        "fn f() -> &'static str { r#\"a \" HashMap\"# }",
        "fn f() -> u8 { b'\"' } // HashMap",
        "fn f<'a>(x: &'a (u8, (u8, u8))) -> u8 { x.1.0 }",
        "fn f() -> u32 { (0..5).map(|i| 0x1e5 + 1usize as u32 + i).sum() }",
        "#![forbid(unsafe_code)]",
        "#[cfg(test)]\nimpl X { fn f() { println!(); } }",
        "#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;",
        "#[cfg(test)]\nuse std::collections::HashMap;",
    ] {
        assert_eq!(violations(innocent), [], "{innocent}");
    }
}

/// Line and name of everything in `source` that the engine must not have.
fn violations(source: &str) -> Vec<(usize, String)> {
    let tokens = source::without_tests(tokens_of(source));
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let text = token.text.as_str();
        if NAMES.contains(&text) {
            found.push((token.line, text.to_owned()));
        } else if token.is_float() {
            found.push((token.line, format!("the float {text}")));
        } else if (text == "std" || text == "core") && tokens.is(at + 1, "::") {
            for (line, path) in source::imported(&tokens, at + 2) {
                if MODULES.iter().any(|module| is_in(&path, module)) {
                    found.push((line, format!("{text}::{path}")));
                }
            }
        }
    }
    found
}

fn is_in(path: &str, module: &str) -> bool {
    path == module || path.starts_with(&format!("{module}::"))
}

/// Lines of a manifest that name another crate of this repository.
fn siblings(manifest: &str) -> Vec<String> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.to_owned();
        }
        let names_dependency = section.contains("dependencies");
        let is_sibling = line.contains("fairlane") || line.contains("path =");
        if names_dependency && is_sibling {
            found.push(line.to_owned());
        }
    }
    found
}

/// Every `.rs` file below `folder`, in order of their paths.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("the sources are there");
        for entry in entries {
            let path = entry.expect("the sources can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Files that are modules of tests only, or modules of such.
fn test_only_files(sources: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for path in sources {
        for module in source::test_modules(&tokens_of(&read(path))) {
            let folder = path.parent().expect("a file is in a folder");
            files.insert(match module {
                source::Module::At(file) => folder.join(file),
                source::Module::Named(name) if path.ends_with("src/lib.rs") => {
                    folder.join(format!("{name}.rs"))
                }
                source::Module::Named(name) => path.with_extension("").join(format!("{name}.rs")),
            });
        }
    }
    for file in &files {
        assert!(
            file.is_file(),
            "{} is declared and not there",
            file.display()
        );
    }
    // And what these are made of.
    let folders: Vec<PathBuf> = files.iter().map(|file| file.with_extension("")).collect();
    let is_within = |path: &&PathBuf| folders.iter().any(|folder| path.starts_with(folder));
    files.extend(sources.iter().filter(is_within).cloned());
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("the sources can be read")
}
