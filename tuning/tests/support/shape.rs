//! Machines that are not here: their `/sys` and `/proc`, written into a temporary folder.

#![allow(dead_code, reason = "each test target uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use std::path::Path;

use fairlane_tuning::cpu_list;
use fairlane_tuning::topology::Topology;
use fairlane_tuning::tree::Tree;
use tempfile::TempDir;

/// A machine by its processors; each `cores` physical cores of a package share a last-level cache of `cache_cores`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) packages: usize,
    /// Physical cores a package.
    pub(crate) cores: usize,
    /// Hardware threads a core.
    pub(crate) threads: usize,
    /// Physical cores that share a last-level cache.
    pub(crate) cache_cores: usize,
    /// Threads of a core are neighbours (0,1), as many virtual machines number them; else 0 and 0 + cores.
    pub(crate) is_adjacent: bool,
}

pub(crate) const fn flat(cores: usize) -> Shape {
    Shape {
        packages: 1,
        cores,
        threads: 1,
        cache_cores: cores,
        is_adjacent: false,
    }
}

/// Two packages of 32 cores and 64 threads, four caches each: a large server.
pub(crate) const SERVER: Shape = Shape {
    packages: 2,
    cores: 32,
    threads: 2,
    cache_cores: 8,
    is_adjacent: false,
};

/// Eight cores, sixteen threads.
pub(crate) const SMT_8: Shape = Shape {
    packages: 1,
    cores: 8,
    threads: 2,
    cache_cores: 8,
    is_adjacent: false,
};

/// The folder of a machine; it goes when this is dropped.
pub(crate) struct Machine {
    pub(crate) folder: TempDir,
}

impl Machine {
    pub(crate) fn new(shape: Shape) -> Self {
        let machine = Self {
            folder: TempDir::new().unwrap(),
        };
        machine.write_processors(shape);
        let all = cpu_list::format(&(0..shape.count()).collect::<Vec<_>>());
        machine
            .file(
                "/proc/self/status",
                &format!("Name:\tx\nCapEff:\t0000000000000000\nCpus_allowed_list:\t{all}\n"),
            )
            .file("/proc/cmdline", "quiet")
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::under(self.folder.path())
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology::read(&self.tree()).unwrap()
    }

    /// Writes a file, in place of what was there.
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.write(path, content);
        self
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.tree().locate(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{content}\n")).unwrap();
    }

    pub(crate) fn without(self, path: &str) -> Self {
        let path = self.tree().locate(path);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        self
    }

    pub(crate) fn content(&self, path: &str) -> String {
        self.tree().read(path).unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write_processors(&self, shape: Shape) {
        let cpu = "/sys/devices/system/cpu";
        let all: Vec<usize> = (0..shape.count()).collect();
        self.write(&format!("{cpu}/online"), &cpu_list::format(&all));
        self.write(&format!("{cpu}/isolated"), "");
        for id in all {
            let core = shape.core_of(id);
            let sharing = |holds: &dyn Fn(usize) -> bool| {
                let ids: Vec<usize> = (0..shape.count())
                    .filter(|id| holds(shape.core_of(*id)))
                    .collect();
                cpu_list::format(&ids)
            };
            let own = format!("{cpu}/cpu{id}");
            self.write(
                &format!("{own}/topology/thread_siblings_list"),
                &sharing(&|other| other == core),
            );
            self.write(
                &format!("{own}/topology/physical_package_id"),
                &(core / shape.cores).to_string(),
            );
            self.write(&format!("{own}/cache/index0/level"), "1");
            self.write(
                &format!("{own}/cache/index0/shared_cpu_list"),
                &sharing(&|other| other == core),
            );
            self.write(&format!("{own}/cache/index3/level"), "3");
            self.write(
                &format!("{own}/cache/index3/shared_cpu_list"),
                &sharing(&|other| other / shape.cache_cores == core / shape.cache_cores),
            );
        }
        for node in 0..shape.packages {
            let ids: Vec<usize> = (0..shape.count())
                .filter(|id| shape.core_of(*id) / shape.cores == node)
                .collect();
            self.write(
                &format!("/sys/devices/system/node/node{node}/cpulist"),
                &cpu_list::format(&ids),
            );
        }
    }
}

impl Shape {
    pub(crate) const fn count(self) -> usize {
        self.packages * self.cores * self.threads
    }

    /// Physical core of a processor, counted over the whole machine.
    pub(crate) const fn core_of(self, id: usize) -> usize {
        if self.is_adjacent {
            id / self.threads
        } else {
            id % (self.packages * self.cores)
        }
    }
}
