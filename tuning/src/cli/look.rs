//! What `check` and `apply` look at: the machine, and which of its processors the node's stages have.

use super::{Cpus, Unusable, parse_cpus};
use crate::check::{Context, Finding, Probed, Surroundings, check};
use crate::cpu_list;
use crate::network::Interface;
use crate::placement::{Wish, place};
use crate::topology::{self, Topology};
use crate::tree::Tree;

/// Arguments that say what to look at.
#[derive(Debug, clap::Args)]
pub(super) struct LookArguments {
    /// The processors that the node's stages have, like 1-3 [default: those that `plan` names for one authority].
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    cores: Option<Cpus>,
    /// The network interface of the node's traffic [default: that of the default route].
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
}

/// A machine looked at.
pub(super) struct Look {
    pub(super) topology: Topology,
    pub(super) interface: Option<Interface>,
    pub(super) surroundings: Surroundings,
    pub(super) stages: Vec<usize>,
    pub(super) findings: Vec<Finding>,
}

impl Look {
    /// Reads and judges; this machine is asked by system calls, too, a copy of another one is not.
    pub(super) fn at(tree: &Tree, arguments: &LookArguments) -> Result<Self, Unusable> {
        let topology = Topology::read(tree)?;
        let interface =
            Interface::choose(tree, arguments.interface.as_deref()).map_err(Unusable)?;
        let surroundings = Surroundings::read(tree);
        let stages = stages(
            tree,
            &topology,
            interface.as_ref(),
            arguments.cores.as_ref(),
        )?;
        let probed = if tree.is_this_machine() {
            Probed::here(interface.as_ref())
        } else {
            Probed::nothing()
        };
        let findings = check(&Context {
            tree,
            topology: &topology,
            stages: &stages,
            interface: interface.as_ref(),
            surroundings: &surroundings,
            probed: &probed,
        });
        Ok(Self {
            topology,
            interface,
            surroundings,
            stages,
            findings,
        })
    }
}

/// The processors that a user named, else those that this process may use and those that are isolated.
///
/// # Errors
/// One that is named and not online.
pub(super) fn cpus_to_use(
    tree: &Tree,
    topology: &Topology,
    named: Option<&Cpus>,
) -> Result<Vec<usize>, Unusable> {
    let Some(Cpus(cpus)) = named else {
        return Ok(topology::usable(tree, topology)?);
    };
    match cpus.iter().find(|cpu| topology.cpu(**cpu).is_none()) {
        None => Ok(cpus.clone()),
        Some(cpu) => Err(Unusable(format!(
            "--cores: there is no processor {cpu} online, only {}",
            cpu_list::format(&topology.ids())
        ))),
    }
}

fn stages(
    tree: &Tree,
    topology: &Topology,
    interface: Option<&Interface>,
    named: Option<&Cpus>,
) -> Result<Vec<usize>, Unusable> {
    let cpus = cpus_to_use(tree, topology, named)?;
    if named.is_some() {
        return Ok(cpus);
    }
    let wish = Wish {
        cpus: &cpus,
        authorities: 1,
        first_index: 0,
        interface_node: interface.and_then(|interface| interface.node),
    };
    Ok(place(topology, &wish).authorities.swap_remove(0).cpus)
}
