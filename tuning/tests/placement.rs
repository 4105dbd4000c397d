//! Placements on machines of many shapes: what they give is what the node will do, and no worse than need be.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use std::collections::BTreeSet;

use fairlane_tuning::Stage;
use fairlane_tuning::placement::{Placed, Placement, Wish, place};
use fairlane_tuning::topology::{Cpu, Topology};
use proptest::prelude::*;
use support::{Machine, SERVER, SMT_8, Shape, flat};

#[path = "support/shape.rs"]
mod support;

fn placement(topology: &Topology, authorities: usize, interface_node: Option<usize>) -> Placement {
    let cpus = topology.ids();
    let wish = Wish {
        cpus: &cpus,
        authorities,
        first_index: 0,
        interface_node,
    };
    place(topology, &wish)
}

fn cpu_of<'a>(topology: &'a Topology, placed: &Placed, stage: Stage) -> &'a Cpu {
    let thread = (placed.plan.threads.iter()).find(|thread| thread.stages.contains(&stage));
    topology.cpu(thread.unwrap().core).unwrap()
}

#[test]
fn one_processor_holds_everything() {
    let machine = Machine::new(flat(1));
    let placed = &placement(&machine.topology(), 1, None).authorities[0];
    assert_eq!(placed.cpus, [0]);
    assert!(placed.plan.threads.iter().all(|thread| thread.core == 0));
}

#[test]
fn two_processors_give_the_journal_one() {
    let topology = Machine::new(flat(2)).topology();
    let placed = &placement(&topology, 1, None).authorities[0];
    let journal = cpu_of(&topology, placed, Stage::Journal).id;
    assert_ne!(cpu_of(&topology, placed, Stage::Core).id, journal);
    assert_eq!(
        cpu_of(&topology, placed, Stage::Io).id,
        cpu_of(&topology, placed, Stage::Core).id
    );
}

#[test]
fn five_authorities_on_two_processors_share_them_as_the_node_does() {
    let topology = Machine::new(flat(2)).topology();
    let placement = placement(&topology, 5, None);
    for (place, placed) in placement.authorities.iter().enumerate() {
        assert_eq!(placed.authorities_here, 5);
        assert_eq!(placed.plan, fairlane_tuning::plan(&[0, 1], place, 5));
    }
}

#[test]
fn four_processors_leave_the_first_to_the_kernel() {
    let topology = Machine::new(flat(4)).topology();
    let placement = placement(&topology, 1, None);
    assert_eq!(placement.authorities[0].cpus, [1, 2, 3]);
    assert_eq!(placement.spare, [0]);
}

#[test]
fn machines_of_any_size_say_why_and_from_four_on_give_each_thread_a_core() {
    for processors in [2, 4, 8, 16, 64] {
        let topology = Machine::new(flat(processors)).topology();
        let placed = &placement(&topology, 1, None).authorities[0];
        assert!(!placed.reasons.is_empty(), "{processors}: {placed:?}");
        let cores: BTreeSet<usize> = (placed.plan.threads.iter())
            .map(|thread| thread.core)
            .collect();
        let expected = if processors == 2 { 2 } else { 3 };
        assert_eq!(cores.len(), expected, "{processors}: {placed:?}");
    }
}

#[test]
fn two_physical_cores_keep_io_and_core_apart_however_threads_are_numbered() {
    for is_adjacent in [false, true] {
        let shape = Shape {
            packages: 1,
            cores: 2,
            threads: 2,
            cache_cores: 2,
            is_adjacent,
        };
        let topology = Machine::new(shape).topology();
        let placed = &placement(&topology, 1, None).authorities[0];
        let io = cpu_of(&topology, placed, Stage::Io);
        let core = cpu_of(&topology, placed, Stage::Core);
        assert_ne!(io.siblings, core.siblings, "{placed:?}");
        assert!(
            placed
                .reasons
                .iter()
                .any(|reason| reason.contains("journal shares")),
            "{placed:?}"
        );
    }
}

#[test]
fn threads_of_one_core_are_not_used_together_while_there_are_others() {
    for is_adjacent in [false, true] {
        let topology = Machine::new(Shape {
            is_adjacent,
            ..SMT_8
        })
        .topology();
        let placement = placement(&topology, 2, None);
        let used: Vec<&Cpu> = (placement.authorities.iter())
            .flat_map(|placed| placed.cpus.iter().map(|id| topology.cpu(*id).unwrap()))
            .collect();
        let cores: BTreeSet<_> = used.iter().map(|cpu| &cpu.siblings).collect();
        assert_eq!((used.len(), cores.len()), (6, 6), "{used:?}");
    }
}

#[test]
fn a_server_places_all_three_in_one_cache_of_the_interfaces_node() {
    let topology = Machine::new(SERVER).topology();
    let placed = &placement(&topology, 1, Some(1)).authorities[0];
    let chosen: Vec<&Cpu> = placed
        .cpus
        .iter()
        .map(|id| topology.cpu(*id).unwrap())
        .collect();
    assert!(
        chosen
            .iter()
            .all(|cpu| cpu.node == 1 && cpu.cache == chosen[0].cache)
    );
    assert!(
        placed
            .reasons
            .iter()
            .any(|reason| reason.contains("NUMA node 1, where")),
        "{placed:?}"
    );
}

#[test]
fn spinning_is_offered_only_where_stages_have_cores_of_their_own_and_one_is_left() {
    let offered = |shape, authorities| {
        let topology = Machine::new(shape).topology();
        let placement = placement(&topology, authorities, None);
        let modes = placement.authorities.iter().map(|placed| placed.wait_mode);
        modes.collect::<Vec<_>>()
    };
    assert_eq!(offered(flat(4), 1), ["spin"]);
    assert_eq!(offered(flat(7), 2), ["spin"; 2]);
    assert_eq!(offered(flat(3), 1), ["batch"], "nothing left to the kernel");
    assert_eq!(offered(flat(2), 1), ["batch"]);
    assert_eq!(offered(flat(2), 5), ["batch"; 5]);
    let two_cores_of_two_threads = Shape {
        packages: 1,
        cores: 2,
        threads: 2,
        cache_cores: 2,
        is_adjacent: true,
    };
    assert_eq!(offered(two_cores_of_two_threads, 1), ["batch"]);
}

#[test]
fn isolated_processors_are_chosen_before_others() {
    let machine = Machine::new(flat(8)).file("/sys/devices/system/cpu/isolated", "4-6");
    let placement = placement(&machine.topology(), 1, None);
    assert_eq!(placement.authorities[0].cpus, [4, 5, 6]);
}

#[test]
fn small_cores_of_a_hybrid_processor_are_left_out() {
    let machine = Machine::new(flat(8)).file("/sys/devices/cpu_atom/cpus", "0-3");
    let placement = placement(&machine.topology(), 1, None);
    assert_eq!(placement.authorities[0].cpus, [4, 5, 6]);
}

#[test]
fn a_machine_that_shows_neither_caches_nor_siblings_is_placed_all_the_same() {
    let machine = Machine::new(flat(4))
        .without("/sys/devices/system/cpu/cpu0")
        .without("/sys/devices/system/cpu/cpu1")
        .without("/sys/devices/system/cpu/cpu2")
        .without("/sys/devices/system/cpu/cpu3")
        .without("/sys/devices/system/node");
    assert_eq!(
        placement(&machine.topology(), 1, None).authorities[0].cpus,
        [1, 2, 3]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whoever follows a placement gets what it says: the node's own plan, from the affinity and the setting alone.
    #[test]
    fn a_placement_is_what_the_node_will_do(
        packages in 1..3_usize,
        cores_exponent in 0..4_u32,
        threads in 1..3_usize,
        is_adjacent: bool,
        authorities in 1..6_usize,
        first_index in 0..4_usize,
    ) {
        let cores = 1 << cores_exponent;
        let shape = Shape { packages, cores, threads, cache_cores: cores.min(4), is_adjacent };
        let topology = Machine::new(shape).topology();
        let cpus = topology.ids();
        let wish = Wish { cpus: &cpus, authorities, first_index, interface_node: Some(0) };
        let placement = place(&topology, &wish);
        prop_assert_eq!(placement.authorities.len(), authorities);
        let mut given: Vec<usize> = Vec::new();
        for (offset, placed) in placement.authorities.iter().enumerate() {
            prop_assert_eq!(placed.index, first_index + offset);
            let by_node = fairlane_tuning::plan(&placed.cpus, placed.index, placed.authorities_here);
            prop_assert_eq!(&placed.plan, &by_node);
            let own = placed.plan.threads.iter().all(|thread| by_node.has_own_core(thread));
            prop_assert!(own || placed.wait_mode == "batch", "the node would refuse to spin");
            prop_assert!(!placed.reasons.is_empty());
            if placed.authorities_here == 1 {
                given.extend(&placed.cpus);
            }
        }
        let different: BTreeSet<_> = given.iter().collect();
        prop_assert_eq!(different.len(), given.len(), "no processor is given twice");
        if cpus.len() / authorities >= 3 {
            prop_assert_eq!(given.len(), 3 * authorities, "enough processors give each stage its own");
        }
    }
}
