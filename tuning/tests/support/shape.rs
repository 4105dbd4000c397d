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

    /// Writes as the kernel takes it: a choice moves the brackets, an interrupt follows its affinity.
    pub(crate) fn set(&self, path: &str, value: &str) {
        let before = self.tree().read(path).unwrap_or_default();
        if before.contains('[') {
            let choices: Vec<String> = (before.split_whitespace())
                .map(|choice| choice.trim_matches(['[', ']']))
                .map(|choice| {
                    if choice == value {
                        format!("[{choice}]")
                    } else {
                        choice.to_owned()
                    }
                })
                .collect();
            return self.write(path, &choices.join(" "));
        }
        if let Some(folder) = path.strip_suffix("/smp_affinity_list") {
            self.write(&format!("{folder}/effective_affinity_list"), value);
        }
        self.write(path, value);
    }

    pub(crate) fn content(&self, path: &str) -> String {
        self.tree().read(path).unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A machine on which everything that can be read is as wanted; tests turn single knobs.
    pub(crate) fn healthy(shape: Shape) -> Self {
        let machine = Self::new(shape);
        for id in 0..shape.count() {
            let cpu = format!("/sys/devices/system/cpu/cpu{id}");
            machine.write(&format!("{cpu}/cpufreq/scaling_governor"), "performance");
            for (state, name, latency, disable) in [
                (0, "POLL", "0", "0"),
                (1, "C1", "2", "0"),
                (2, "C6", "170", "1"),
            ] {
                let state = format!("{cpu}/cpuidle/state{state}");
                machine.write(&format!("{state}/name"), name);
                machine.write(&format!("{state}/latency"), latency);
                machine.write(&format!("{state}/disable"), disable);
            }
        }
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            65536                65536                files\n\
                      Max locked memory         unlimited            unlimited            bytes";
        let heads: Vec<String> = (0..shape.count()).map(|id| format!("CPU{id}")).collect();
        let counts: Vec<&str> = (0..shape.count())
            .map(|id| if id == 0 { "5" } else { "0" })
            .collect();
        let interrupts = format!(
            "{}\n 40: {} PCI-MSIX-0000:00:03.0 1-edge eth0-rx\nLOC: {}",
            heads.join(" "),
            counts.join(" "),
            counts.join(" ")
        );
        let all = cpu_list::format(&(0..shape.count()).collect::<Vec<_>>());
        let route = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                     eth0 0000A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n\
                     eth0 00000000 0100A8C0 0003 0 0 0 00000000 0 0 0";
        let files: &[(&str, &str)] = &[
            ("/proc/sys/kernel/osrelease", "6.12.1"),
            ("/proc/cpuinfo", "flags\t\t: fpu tsc"),
            ("/proc/stat", "cpu  1000 0 1000 98000 0 0 0 0 0 0"),
            (
                "/proc/pressure/cpu",
                "some avg10=0.00 avg60=0.10 avg300=0.00 total=5",
            ),
            ("/proc/self/cgroup", "0::/system.slice/fairlane.service"),
            (
                "/sys/fs/cgroup/system.slice/fairlane.service/cpu.max",
                "max 100000",
            ),
            ("/proc/self/limits", limits),
            ("/proc/swaps", "Filename Type Size Used Priority"),
            ("/proc/sys/vm/swappiness", "60"),
            ("/proc/sys/vm/nr_hugepages", "0"),
            ("/proc/sys/kernel/numa_balancing", "0"),
            ("/proc/sys/kernel/io_uring_disabled", "0"),
            (
                "/sys/kernel/mm/transparent_hugepage/enabled",
                "always [madvise] never",
            ),
            (
                "/sys/kernel/mm/transparent_hugepage/defrag",
                "always defer defer+madvise [madvise] never",
            ),
            (
                "/sys/devices/system/clocksource/clocksource0/current_clocksource",
                "tsc",
            ),
            (
                "/sys/devices/system/clocksource/clocksource0/available_clocksource",
                "tsc hpet acpi_pm",
            ),
            (
                "/sys/devices/system/cpu/cpuidle/current_driver",
                "intel_idle",
            ),
            ("/proc/net/route", route),
            ("/proc/interrupts", &interrupts),
            ("/proc/irq/40/smp_affinity_list", &all),
            ("/proc/irq/40/effective_affinity_list", "0"),
            ("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
            ("/sys/class/net/eth0/queues/tx-0/xps_cpus", "0"),
            ("/sys/class/net/eth0/device/numa_node", "0"),
            ("/sys/class/net/eth0/gro_flush_timeout", "0"),
            ("/sys/class/net/eth0/napi_defer_hard_irqs", "0"),
            ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456"),
            ("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304"),
            ("/proc/sys/net/ipv4/tcp_slow_start_after_idle", "0"),
            ("/proc/sys/net/core/rmem_max", "4194304"),
            ("/proc/sys/net/core/wmem_max", "4194304"),
            ("/proc/sys/net/core/somaxconn", "4096"),
            ("/proc/sys/net/core/busy_poll", "0"),
            ("/proc/sys/net/core/busy_read", "0"),
        ];
        for (path, content) in files {
            machine.write(path, content);
        }
        machine
    }

    /// A virtual machine under KVM, as its files show it.
    pub(crate) fn virtual_machine(self) -> Self {
        let clocks = "/sys/devices/system/clocksource/clocksource0/available_clocksource";
        self.file("/proc/cpuinfo", "flags\t\t: fpu tsc hypervisor")
            .file(clocks, "tsc kvm-clock")
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
