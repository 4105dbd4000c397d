//! The check on machines of many kinds: what it finds, and that what it offers to mend is mended by it.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use std::collections::BTreeSet;

use fairlane_tuning::check::{
    Change, Context, Finding, Matters, Probed, Remedy, Surroundings, UringFacts, Verdict, check,
    is_good_enough,
};
use fairlane_tuning::ethtool::{Coalescing, NicFacts, Rings};
use fairlane_tuning::network::Interface;
use fairlane_tuning::placement::{Wish, place};
use fairlane_tuning::topology;
use support::{Machine, SERVER, SMT_8, flat};

#[path = "support/shape.rs"]
mod support;

fn good_probes() -> Probed {
    Probed {
        uring: Ok(UringFacts {
            has_deferred_work: true,
            missing: Vec::new(),
        }),
        nic: Ok(NicFacts {
            rings: Some(Rings {
                rx: 1024,
                rx_most: 4096,
            }),
            coalescing: Some(Coalescing {
                rx_usecs: Some(3),
                rx_frames: Some(0),
                is_rx_adaptive: false,
            }),
            features: Some(vec!["rx-gro".to_owned()]),
        }),
    }
}

fn findings_with(machine: &Machine, probed: &Probed) -> Vec<Finding> {
    let tree = machine.tree();
    let topology = machine.topology();
    let interface = Interface::choose(&tree, None).unwrap();
    let cpus = topology::usable(&tree, &topology).unwrap();
    let wish = Wish {
        cpus: &cpus,
        authorities: 1,
        first_index: 0,
        interface_node: interface.as_ref().and_then(|interface| interface.node),
    };
    let stages = place(&topology, &wish).authorities.swap_remove(0).cpus;
    check(&Context {
        tree: &tree,
        topology: &topology,
        stages: &stages,
        interface: interface.as_ref(),
        surroundings: &Surroundings::read(&tree),
        probed,
    })
}

fn findings(machine: &Machine) -> Vec<Finding> {
    findings_with(machine, &good_probes())
}

fn knob(machine: &Machine, name: &str) -> Finding {
    let mut found = findings(machine);
    found.retain(|finding| finding.knob == name);
    assert_eq!(found.len(), 1, "{name}");
    found.swap_remove(0)
}

fn off(findings: &[Finding]) -> Vec<&str> {
    (findings.iter())
        .filter(|finding| finding.verdict == Verdict::Off)
        .map(|finding| finding.knob)
        .collect()
}

fn changes(finding: &Finding) -> &[Change] {
    match &finding.remedy {
        Some(Remedy::Apply(changes)) => changes,
        other => panic!("{} has {other:?}", finding.knob),
    }
}

#[test]
fn healthy_machines_have_nothing_off_but_what_needs_a_boot() {
    for shape in [flat(8), SMT_8, SERVER] {
        let found = findings(&Machine::healthy(shape));
        assert_eq!(off(&found), ["isolcpus", "nohz-full"], "{shape:?}");
        assert!(is_good_enough(&found, Matters::High));
        assert!(!is_good_enough(&found, Matters::Medium));
    }
}

#[test]
fn two_processors_are_asked_for_nothing_that_needs_a_third() {
    let found = findings(&Machine::healthy(flat(2)).virtual_machine());
    assert_eq!(off(&found), [""; 0]);
    assert!(is_good_enough(&found, Matters::Low));
}

#[test]
fn every_knob_is_found_once_with_all_that_is_to_be_said() {
    for machine in [
        Machine::healthy(flat(2)),
        Machine::new(SERVER),
        Machine::healthy(SMT_8),
    ] {
        let found = findings(&machine);
        let names: BTreeSet<&str> = found.iter().map(|finding| finding.knob).collect();
        assert_eq!(names.len(), found.len());
        assert!(found.len() > 30);
        for finding in &found {
            assert!(
                !finding.now.is_empty() && !finding.wanted.is_empty(),
                "{finding:?}"
            );
            assert!(finding.why.len() > 30, "{finding:?}");
            let is_off = finding.verdict == Verdict::Off;
            assert_eq!(is_off, finding.remedy.is_some(), "{finding:?}");
        }
    }
}

#[test]
fn nothing_is_guessed_of_a_machine_that_shows_only_its_processors() {
    let machine = Machine::new(flat(2));
    let found = findings_with(&machine, &Probed::nothing());
    let claimed: Vec<&str> = (found.iter())
        .filter(|finding| matches!(finding.verdict, Verdict::Good | Verdict::Off))
        .map(|finding| finding.knob)
        .collect();
    assert_eq!(claimed, ["smt"], "which follows from the processors");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let path = "/proc/sys/net/core/somaxconn";
    let machine = Machine::healthy(flat(4)).without(path);
    // A folder in its place: readable by nobody, not even by root.
    std::fs::create_dir(machine.tree().locate(path)).unwrap();
    let finding = knob(&machine, "listen-backlog");
    assert_eq!(finding.verdict, Verdict::Unread);
    assert!(
        finding.now.contains(path) && finding.now.contains("directory"),
        "{}",
        finding.now
    );
}

#[test]
fn files_with_nonsense_are_unread_not_judged() {
    for (name, path) in [
        ("listen-backlog", "/proc/sys/net/core/somaxconn"),
        ("thp", "/sys/kernel/mm/transparent_hugepage/enabled"),
        ("tcp-rmem", "/proc/sys/net/ipv4/tcp_rmem"),
        ("cpu-pressure", "/proc/pressure/cpu"),
        ("nofile", "/proc/self/limits"),
    ] {
        let machine = Machine::healthy(flat(4)).file(path, "nonsense");
        assert_eq!(knob(&machine, name).verdict, Verdict::Unread, "{name}");
    }
    let machine = (Machine::healthy(flat(4)).virtual_machine()).file("/proc/stat", "cpu 1 2");
    assert_eq!(knob(&machine, "steal").verdict, Verdict::Unread);
}

#[test]
fn a_sleepy_governor_is_set_on_the_stages_processors_only() {
    let machine = Machine::healthy(flat(8));
    for id in 0..8 {
        machine.write(
            &format!("/sys/devices/system/cpu/cpu{id}/cpufreq/scaling_governor"),
            "powersave",
        );
    }
    let finding = knob(&machine, "governor");
    assert_eq!(
        (finding.verdict, finding.matters),
        (Verdict::Off, Matters::High)
    );
    let paths: Vec<&str> = changes(&finding)
        .iter()
        .map(|change| change.path.as_str())
        .collect();
    assert_eq!(paths.len(), 3);
    assert!(
        paths[0].contains("cpu1/") && paths[2].contains("cpu3/"),
        "{paths:?}"
    );
}

#[test]
fn deep_sleep_is_switched_off_state_by_state() {
    let machine =
        Machine::healthy(flat(4)).file("/sys/devices/system/cpu/cpu2/cpuidle/state2/disable", "0");
    let finding = knob(&machine, "c-states");
    assert_eq!(finding.now, "C6 (170 us)");
    let only = &changes(&finding)[0];
    assert_eq!(
        only.path,
        "/sys/devices/system/cpu/cpu2/cpuidle/state2/disable"
    );
    assert_eq!(only.value, "1");
}

#[test]
fn a_guest_that_could_poll_before_it_halts_is_told_so() {
    let poll = "/sys/module/haltpoll/parameters/guest_halt_poll_ns";
    let machine = Machine::healthy(flat(2))
        .virtual_machine()
        .file("/sys/devices/system/cpu/cpuidle/current_driver", "haltpoll")
        .file(poll, "0");
    let finding = knob(&machine, "halt-poll");
    assert_eq!(
        (finding.verdict, finding.matters),
        (Verdict::Off, Matters::High)
    );
    let machine = machine.file(poll, "200000");
    assert_eq!(knob(&machine, "halt-poll").verdict, Verdict::Good);
}

#[test]
fn stolen_time_is_the_hosts_to_mend() {
    let stat = "/proc/stat";
    let machine = (Machine::healthy(flat(4)).virtual_machine())
        .file(stat, "cpu  1000 0 1000 92000 0 0 0 6000 0 0");
    let finding = knob(&machine, "steal");
    assert_eq!(finding.now, "6.0 % since boot");
    assert!(matches!(finding.remedy, Some(Remedy::Host(_))));
    let bare = Machine::healthy(flat(4)).file(stat, "cpu  1000 0 1000 92000 0 0 0 6000 0 0");
    assert_eq!(knob(&bare, "steal").verdict, Verdict::Absent);
}

#[test]
fn a_slow_clock_is_replaced_where_there_is_a_better_one() {
    let folder = "/sys/devices/system/clocksource/clocksource0";
    let machine = Machine::healthy(flat(4)).file(&format!("{folder}/current_clocksource"), "hpet");
    assert_eq!(changes(&knob(&machine, "clock-source"))[0].value, "tsc");
    let machine = machine.file(&format!("{folder}/available_clocksource"), "hpet acpi_pm");
    assert!(matches!(
        knob(&machine, "clock-source").remedy,
        Some(Remedy::Host(_))
    ));
}

#[test]
fn a_quota_is_found_in_the_group_and_above_it_in_both_versions() {
    let above = Machine::healthy(flat(4))
        .file("/sys/fs/cgroup/system.slice/cpu.max", "150000 100000")
        .file(
            "/sys/fs/cgroup/system.slice/cpu.stat",
            "nr_periods 9\nnr_throttled 7",
        );
    let finding = knob(&above, "cpu-quota");
    assert_eq!(
        finding.now,
        "1.50 processors in /sys/fs/cgroup/system.slice, held back 7 times"
    );
    assert_eq!(finding.matters, Matters::High);
    let first = Machine::healthy(flat(4))
        .file("/proc/self/cgroup", "3:cpu,cpuacct:/pod\n0::/")
        .file("/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", "50000")
        .file("/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us", "100000");
    assert!(knob(&first, "cpu-quota").now.starts_with("0.50 processors"));
    let unlimited = first.file("/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", "-1");
    assert_eq!(knob(&unlimited, "cpu-quota").verdict, Verdict::Good);
}

#[test]
fn a_container_with_a_quota_refers_to_its_host() {
    let machine = Machine::healthy(flat(4))
        .file("/.dockerenv", "")
        .file("/proc/self/cgroup", "0::/")
        .file("/sys/fs/cgroup/cpu.max", "200000 100000");
    let finding = knob(&machine, "cpu-quota");
    assert!(
        matches!(finding.remedy, Some(Remedy::Host(_))),
        "{finding:?}"
    );
    assert_eq!(knob(&machine, "irqbalance").verdict, Verdict::Unread);
}

#[test]
fn an_images_mark_makes_no_container_of_a_machine_with_the_first_namespaces() {
    let machine = Machine::healthy(flat(2)).file("/.dockerenv", "");
    assert_eq!(
        Surroundings::read(&machine.tree()).container.as_deref(),
        Some("Docker")
    );
    let folder = machine.tree().locate("/proc/self/ns");
    std::fs::create_dir_all(&folder).unwrap();
    let first = [
        ("pid", 4026531836_u32),
        ("uts", 4026531838),
        ("ipc", 4026531839),
        ("cgroup", 4026531835),
    ];
    for (name, number) in first {
        std::os::unix::fs::symlink(format!("{name}:[{number}]"), folder.join(name)).unwrap();
    }
    assert_eq!(Surroundings::read(&machine.tree()).container, None);
}

#[test]
fn interrupts_go_to_spare_processors_of_the_interfaces_node() {
    let machine = Machine::healthy(SERVER).file("/proc/irq/40/effective_affinity_list", "1");
    let finding = knob(&machine, "irq-affinity");
    let change = &changes(&finding)[0];
    assert_eq!(change.path, "/proc/irq/40/smp_affinity_list");
    // Node 0 is 0-31 and 64-95; stages are 1-3, their other threads 65-67.
    assert_eq!(change.value, "0,4-31,64,68-95");
    assert!(finding.now.contains("eth0-rx on 1"), "{}", finding.now);
}

#[test]
fn a_running_irqbalance_is_found_unless_it_is_kept_off() {
    let machine = Machine::healthy(flat(8)).file("/proc/812/comm", "irqbalance");
    assert!(matches!(
        knob(&machine, "irqbalance").remedy,
        Some(Remedy::Hand(_))
    ));
    let machine = machine.file(
        "/etc/default/irqbalance",
        "IRQBALANCE_BANNED_CPULIST=\"1-3\"",
    );
    assert_eq!(knob(&machine, "irqbalance").verdict, Verdict::Good);
}

#[test]
fn io_uring_that_is_switched_off_falls_back_and_is_offered_on() {
    let machine = Machine::healthy(flat(4)).file("/proc/sys/kernel/io_uring_disabled", "2");
    let refused = Probed {
        uring: Err("refused: not permitted (io_uring_setup)".to_owned()),
        ..good_probes()
    };
    let found = findings_with(&machine, &refused);
    let finding = found
        .iter()
        .find(|finding| finding.knob == "io-uring")
        .unwrap();
    assert!(
        finding.now.contains("io_uring_disabled = 2"),
        "{}",
        finding.now
    );
    assert_eq!(changes(finding)[0].value, "0");
    let filtered = Machine::healthy(flat(4)).file("/.dockerenv", "");
    let found = findings_with(&filtered, &refused);
    let finding = found
        .iter()
        .find(|finding| finding.knob == "io-uring")
        .unwrap();
    assert!(
        matches!(finding.remedy, Some(Remedy::Host(_))),
        "{finding:?}"
    );
}

#[test]
fn a_device_that_holds_packets_back_is_named() {
    let mut probed = good_probes();
    let nic = probed.nic.as_mut().unwrap();
    nic.rings = Some(Rings {
        rx: 256,
        rx_most: 4096,
    });
    nic.coalescing = Some(Coalescing {
        rx_usecs: Some(50),
        rx_frames: None,
        is_rx_adaptive: true,
    });
    nic.features = Some(vec!["rx-lro".to_owned()]);
    let found = findings_with(&Machine::healthy(flat(2)), &probed);
    assert_eq!(
        off(&found),
        ["nic-rings", "nic-coalescing", "nic-lro", "nic-gro"]
    );
}

#[test]
fn a_machine_without_default_route_is_judged_without_interface() {
    let machine = Machine::healthy(flat(4)).without("/proc/net/route");
    assert_eq!(knob(&machine, "nic-rings").verdict, Verdict::Absent);
    let six = machine.file(
        "/proc/net/ipv6_route",
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
         fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0",
    );
    assert_eq!(knob(&six, "nic-rings").verdict, Verdict::Good);
}

/// The law of `apply`: what is offered to be written mends what was off.
#[test]
fn every_change_that_is_offered_mends_its_knob() {
    let machine = Machine::healthy(SERVER)
        .file(
            "/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
            "powersave",
        )
        .file("/sys/devices/system/cpu/cpu2/cpuidle/state2/disable", "0")
        .file(
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
            "hpet",
        )
        .file("/proc/sys/kernel/numa_balancing", "1")
        .file("/proc/irq/40/effective_affinity_list", "3")
        .file(
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never",
        )
        .file(
            "/sys/kernel/mm/transparent_hugepage/defrag",
            "[always] defer defer+madvise madvise never",
        )
        .file(
            "/proc/swaps",
            "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2",
        )
        .file("/proc/sys/kernel/io_uring_disabled", "1")
        .file("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t1000000")
        .file("/proc/sys/net/core/wmem_max", "212992")
        .file("/proc/sys/net/core/somaxconn", "128")
        .file("/proc/sys/net/ipv4/tcp_slow_start_after_idle", "1")
        .file("/sys/class/net/eth0/gro_flush_timeout", "200000");
    let before = findings(&machine);
    let offered: Vec<&Finding> = (before.iter())
        .filter(|finding| matches!(finding.remedy, Some(Remedy::Apply(_))))
        .collect();
    assert_eq!(offered.len(), 14, "{:?}", off(&before));
    for finding in &offered {
        for change in changes(finding) {
            machine.set(&change.path, &change.value);
        }
    }
    assert_eq!(off(&findings(&machine)), ["isolcpus", "nohz-full"]);
}
