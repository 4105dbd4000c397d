//! Which processors to give to the authorities of a machine, from what the processors share.
//!
//! The node decides by [`plan`] which stage runs where, from the processors that it may run on. So a placement is a set
//! of processors for each authority, in a form that the node obeys: an affinity to start it with, and the setting
//! `authorities_here`. What it will then do is computed by the very function that the node calls.
//!
//! Every choice of three processors (io, core, journal, ascending as the node counts them) has a price: the sum of the
//! drawbacks of [`Drawback`]. The cheapest is taken, the lowest numbers among equals; one authority after another.
//! Weights say which drawback yields to which, no more. io and core hand every message to each other, so what separates
//! them weighs most; the journal waits for the disk and bears almost anything.
//!
//! Cost: the number of triples within one last-level cache (or of all, when no cache has three), times authorities.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cpu_list;
use crate::plan::{CorePlan, Stage, plan};
use crate::topology::{Cpu, Topology};

/// The processors of every authority of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// In order of their indices.
    pub authorities: Vec<Placed>,
    /// Of those asked for, what no authority was given.
    pub spare: Vec<usize>,
}

/// One authority: how to start it, and what it will then do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// The `index` of its configuration.
    pub index: usize,
    /// The processors to start it with (`taskset --cpu-list`).
    pub cpus: Vec<usize>,
    /// The setting of the same name in its configuration.
    pub authorities_here: usize,
    /// What the node does with these.
    pub plan: CorePlan,
    /// The `wait.mode` of its configuration that these processors bear.
    pub wait_mode: &'static str,
    /// Why these: first what is well, then what had to be borne.
    pub reasons: Vec<String>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The processors to choose from, ascending, at least one.
    pub cpus: &'a [usize],
    /// How many authorities share them, at least one.
    pub authorities: usize,
    /// The `index` of the first; the others follow it.
    pub first_index: usize,
    /// The NUMA node of the network interface, where it is known.
    pub interface_node: Option<usize>,
}

/// Places the authorities; a pure function.
///
/// Panics when no processor or no authority is asked for, or one that the topology lacks.
pub fn place(topology: &Topology, wish: &Wish<'_>) -> Placement {
    assert!(
        !wish.cpus.is_empty() && wish.authorities > 0,
        "a placement is for a processor and an authority"
    );
    let share = wish.cpus.len() / wish.authorities;
    if share < 2 {
        return share_all(wish);
    }
    let mut free: Vec<&Cpu> = (wish.cpus.iter())
        .map(|id| topology.cpu(*id).expect("asked for an online processor"))
        .collect();
    let mut taken: Vec<&Cpu> = Vec::new();
    let mut authorities = Vec::new();
    for offset in 0..wish.authorities {
        let view = View {
            topology,
            taken: taken.clone(),
            interface_node: wish.interface_node,
            choosable: wish.cpus,
        };
        let index = wish.first_index + offset;
        let chosen = view.cheapest(&free, share.min(STAGES), index);
        free.retain(|cpu| !chosen.iter().any(|own| own.id == cpu.id));
        authorities.push(view.placed(&chosen, index));
        taken.extend(chosen);
    }
    if free.is_empty() {
        // Spinning threads would leave the kernel and everything else no processor of their own.
        authorities
            .iter_mut()
            .for_each(|placed| placed.wait_mode = BATCH);
    }
    Placement {
        authorities,
        spare: free.iter().map(|cpu| cpu.id).collect(),
    }
}

/// Fewer than two processors each: all authorities share all of them, as the node spreads them by itself.
fn share_all(wish: &Wish<'_>) -> Placement {
    let count = wish.cpus.len();
    let authorities = (wish.first_index..wish.first_index + wish.authorities)
        .map(|index| Placed {
            index,
            cpus: wish.cpus.to_vec(),
            authorities_here: wish.authorities,
            plan: plan(wish.cpus, index, wish.authorities),
            wait_mode: BATCH,
            reasons: vec![match (count, wish.authorities) {
                (1, 1) => "one processor: everything shares it".to_owned(),
                _ => format!(
                    "{count} processor{} for {} authorities: they share all of them, and their stages are spread evenly",
                    if count == 1 { "" } else { "s" },
                    wish.authorities
                ),
            }],
        })
        .collect();
    Placement {
        authorities,
        spare: Vec::new(),
    }
}

/// What a choice is judged by.
struct View<'a> {
    topology: &'a Topology,
    taken: Vec<&'a Cpu>,
    interface_node: Option<usize>,
    choosable: &'a [usize],
}

/// What can be wrong with a choice, with its weight and its wording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Drawback {
    IoCoreShareCore,
    IoCoreOtherNode,
    IoCoreOtherCache,
    JournalSharesCore,
    SiblingTaken,
    SmallCore,
    OtherNodeThanInterface,
    JournalOtherNode,
    JournalOtherCache,
    NotIsolated,
    FirstProcessor,
}

impl Drawback {
    const fn weight(self) -> u32 {
        match self {
            Self::IoCoreShareCore => 2000,
            Self::IoCoreOtherNode => 1600,
            Self::IoCoreOtherCache => 800,
            Self::SmallCore => 600,
            Self::SiblingTaken => 500,
            Self::JournalSharesCore => 300,
            Self::OtherNodeThanInterface => 250,
            Self::JournalOtherNode => 100,
            Self::NotIsolated => 60,
            Self::FirstProcessor => 30,
            Self::JournalOtherCache => 20,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::IoCoreShareCore => "io and core share a physical core, there is no other",
            Self::IoCoreOtherNode => "io and core are on two NUMA nodes",
            Self::IoCoreOtherCache => "io and core share no last-level cache",
            Self::JournalSharesCore => {
                "the journal shares a physical core with another stage; it mostly waits for the disk"
            }
            Self::SiblingTaken => "another authority has the other thread of a physical core",
            Self::SmallCore => "a small core is among them, the fast ones do not suffice",
            Self::OtherNodeThanInterface => "io is not on the NUMA node of the network interface",
            Self::JournalOtherNode => "the journal is on another NUMA node",
            Self::JournalOtherCache => "the journal shares no last-level cache with core",
            Self::NotIsolated => "not all of them are isolated (isolcpus)",
            Self::FirstProcessor => {
                "processor 0, where the kernel does its own work, is among them"
            }
        }
    }
}

impl<'a> View<'a> {
    fn cheapest(&self, free: &[&'a Cpu], wanted: usize, index: usize) -> Vec<&'a Cpu> {
        let mut groups: BTreeMap<&[usize], Vec<&'a Cpu>> = BTreeMap::new();
        for cpu in free {
            groups.entry(&cpu.cache).or_default().push(cpu);
        }
        let mut pools: Vec<Vec<&'a Cpu>> = groups.into_values().collect();
        pools.retain(|pool| pool.len() >= wanted);
        if pools.is_empty() {
            pools.push(free.to_vec());
        }
        pools
            .iter()
            .flat_map(|pool| choices(pool, wanted))
            .min_by_key(|choice| {
                let ids: Vec<usize> = choice.iter().map(|cpu| cpu.id).collect();
                let price: u32 = (self.drawbacks(choice, index).iter())
                    .map(|drawback| drawback.weight())
                    .sum();
                (price, ids)
            })
            .expect("there are at least as many free processors as are wanted")
    }

    /// Drawbacks of a choice, each as often as it holds.
    fn drawbacks(&self, chosen: &[&Cpu], index: usize) -> Vec<Drawback> {
        let (io, core, journal) = stages_of(chosen, index);
        let mut found = Vec::new();
        let mut note = |holds: bool, drawback: Drawback| {
            if holds {
                found.push(drawback);
            }
        };
        note(
            io.id != core.id && io.siblings == core.siblings,
            Drawback::IoCoreShareCore,
        );
        note(io.node != core.node, Drawback::IoCoreOtherNode);
        note(
            io.id != core.id && io.cache != core.cache,
            Drawback::IoCoreOtherCache,
        );
        note(
            journal.siblings == io.siblings || journal.siblings == core.siblings,
            Drawback::JournalSharesCore,
        );
        note(journal.node != core.node, Drawback::JournalOtherNode);
        note(journal.cache != core.cache, Drawback::JournalOtherCache);
        note(
            self.interface_node.is_some_and(|node| node != io.node),
            Drawback::OtherNodeThanInterface,
        );
        let fastest = self.topology.cpus.iter().map(|cpu| cpu.capacity).max();
        for cpu in chosen {
            note(Some(cpu.capacity) < fastest, Drawback::SmallCore);
            note(
                self.taken
                    .iter()
                    .any(|other| other.siblings == cpu.siblings),
                Drawback::SiblingTaken,
            );
            let isolated = &self.topology.isolated;
            note(
                self.choosable.iter().any(|id| isolated.contains(id))
                    && !isolated.contains(&cpu.id),
                Drawback::NotIsolated,
            );
            note(cpu.id == 0, Drawback::FirstProcessor);
        }
        found
    }

    fn placed(&self, chosen: &[&Cpu], index: usize) -> Placed {
        let cpus: Vec<usize> = chosen.iter().map(|cpu| cpu.id).collect();
        let mut drawbacks = self.drawbacks(chosen, index);
        drawbacks.sort_unstable();
        drawbacks.dedup();
        let mut reasons = self.merits(chosen, &drawbacks);
        reasons.extend(drawbacks.iter().map(|drawback| drawback.words().to_owned()));
        let bears_spinning = chosen.len() == STAGES && !has_shared_core(&drawbacks);
        Placed {
            index,
            plan: plan(&cpus, index, 1),
            wait_mode: if bears_spinning { SPIN } else { BATCH },
            cpus,
            authorities_here: 1,
            reasons,
        }
    }

    /// What is well with a choice that has these drawbacks.
    fn merits(&self, chosen: &[&Cpu], drawbacks: &[Drawback]) -> Vec<String> {
        let has = |drawback: Drawback| drawbacks.contains(&drawback);
        let mut merits = Vec::new();
        if chosen.len() < STAGES {
            merits.push(
                "two processors: io and core share one, the journal has the other".to_owned(),
            );
        }
        let shared = has(Drawback::IoCoreShareCore) || has(Drawback::JournalSharesCore);
        if !shared && !has(Drawback::SiblingTaken) {
            let idle: Vec<usize> = (chosen.iter())
                .flat_map(|cpu| cpu.siblings.iter().copied().filter(|id| *id != cpu.id))
                .collect();
            merits.push(if idle.is_empty() {
                "each has a physical core to itself".to_owned()
            } else {
                format!(
                    "each has a physical core to itself; leave its other threads ({}) idle",
                    cpu_list::format(&sorted(idle))
                )
            });
        }
        if !has(Drawback::IoCoreOtherCache) && !has(Drawback::JournalOtherCache) {
            merits.push(format!(
                "they share a last-level cache (of {})",
                cpu_list::format(&chosen[0].cache)
            ));
        }
        if let Some(node) = self.interface_node
            && self.topology.nodes().len() > 1
            && !has(Drawback::OtherNodeThanInterface)
        {
            merits.push(format!(
                "on NUMA node {node}, where the network interface is"
            ));
        }
        if !has(Drawback::FirstProcessor) && self.choosable.contains(&0) {
            merits.push("processor 0 is left to the kernel".to_owned());
        }
        merits
    }
}

/// Who is io, core and journal among the chosen, by the node's own rule.
fn stages_of<'a>(chosen: &[&'a Cpu], index: usize) -> (&'a Cpu, &'a Cpu, &'a Cpu) {
    match chosen {
        [io, core, journal] => (io, core, journal),
        _ => {
            let ids: Vec<usize> = chosen.iter().map(|cpu| cpu.id).collect();
            let threads = plan(&ids, index, 1).threads;
            let of = |id: usize| {
                *(chosen.iter())
                    .find(|cpu| cpu.id == id)
                    .expect("a plan names the cores that it was given")
            };
            let hosts = |stage: Stage| {
                let thread = threads.iter().find(|thread| thread.stages.contains(&stage));
                of(thread.expect("a plan hosts every stage").core)
            };
            (hosts(Stage::Io), hosts(Stage::Core), hosts(Stage::Journal))
        }
    }
}

/// All choices of two or three among the processors, ascending.
fn choices<'a>(pool: &[&'a Cpu], wanted: usize) -> Vec<Vec<&'a Cpu>> {
    let mut found = Vec::new();
    for (place, first) in pool.iter().enumerate() {
        for (offset, second) in pool[place + 1..].iter().enumerate() {
            if wanted == 2 {
                found.push(vec![*first, *second]);
                continue;
            }
            for third in &pool[place + offset + 2..] {
                found.push(vec![*first, *second, *third]);
            }
        }
    }
    found
}

fn sorted(mut ids: Vec<usize>) -> Vec<usize> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// A thread that spins takes what its core's other thread could do.
fn has_shared_core(drawbacks: &[Drawback]) -> bool {
    let shared = [
        Drawback::IoCoreShareCore,
        Drawback::JournalSharesCore,
        Drawback::SiblingTaken,
    ];
    shared.iter().any(|drawback| drawbacks.contains(drawback))
}

/// Threads of an authority that has enough processors.
const STAGES: usize = 3;
/// Names of what an idle thread of a node does.
const SPIN: &str = "spin";
const BATCH: &str = "batch";
