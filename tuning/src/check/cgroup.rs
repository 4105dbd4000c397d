//! The processor quota of the control group that this process is in, and of those above it.

use super::{Context, Finding, Knob, Matters, Verdict};

/// A quota that is in force.
struct Quota {
    folder: String,
    processors: f64,
    throttled: Option<String>,
}

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    findings.push(quota(context));
}

fn quota(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "cpu-quota",
        matters: Matters::High,
        wanted: "no quota",
        why: "A group that has used its share of a period (100 ms) stands still until the next one, all its threads at \
              once, however idle the machine is.",
    };
    let groups = match context.tree.read("/proc/self/cgroup") {
        Ok(groups) => groups,
        Err(unread) if unread.is_absent => return knob.absent("this kernel has no control groups"),
        Err(unread) => return knob.unread(&unread),
    };
    let mut is_seen = false;
    let mut found: Vec<Quota> = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let is_v1 = controllers.split(',').any(|controller| controller == "cpu");
        if !is_v1 && !controllers.is_empty() {
            continue;
        }
        let mounts: &[&str] = if is_v1 {
            &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]
        } else {
            &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        };
        for mount in mounts {
            is_seen |= context.tree.has(mount);
            found.extend(
                upwards(path).filter_map(|group| read(context, &format!("{mount}{group}"), is_v1)),
            );
        }
    }
    if !is_seen {
        return knob.finding(
            Verdict::Unread,
            "cannot be read: /sys/fs/cgroup is not mounted here",
        );
    }
    let Some(least) = found
        .iter()
        .min_by(|a, b| a.processors.total_cmp(&b.processors))
    else {
        return knob.good("none on this process's groups");
    };
    let throttled = least
        .throttled
        .as_deref()
        .map_or_else(String::new, |times| format!(", held back {times} times"));
    let now = format!(
        "{:.2} processors in {}{throttled}",
        least.processors, least.folder
    );
    let what = "start the node without a quota: no --cpus, no CPUQuota=; in Kubernetes a static CPU manager and a whole \
                number of processors, requested and limited alike";
    if context.surroundings.container.is_some() {
        knob.host(now, what)
    } else {
        knob.hand(now, what)
    }
}

/// A group's folder and those above it, the root's as an empty text.
fn upwards(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path.trim_end_matches('/')), |group| {
        group.rsplit_once('/').map(|(above, _)| above)
    })
}

fn read(context: &Context<'_>, folder: &str, is_v1: bool) -> Option<Quota> {
    let (quota, period) = if is_v1 {
        let quota = context
            .tree
            .read(&format!("{folder}/cpu.cfs_quota_us"))
            .ok()?;
        let period = context
            .tree
            .read(&format!("{folder}/cpu.cfs_period_us"))
            .ok()?;
        (quota, period)
    } else {
        let max = context.tree.read(&format!("{folder}/cpu.max")).ok()?;
        let (quota, period) = max.split_once(' ')?;
        (quota.to_owned(), period.to_owned())
    };
    // "max" in version 2, -1 in version 1: no quota.
    let quota: u32 = quota.parse().ok()?;
    let period: u32 = period.parse().ok().filter(|period| *period > 0)?;
    let stat = context
        .tree
        .read(&format!("{folder}/cpu.stat"))
        .unwrap_or_default();
    let throttled = stat
        .lines()
        .find_map(|line| line.strip_prefix("nr_throttled "));
    Some(Quota {
        folder: folder.to_owned(),
        processors: f64::from(quota) / f64::from(period),
        throttled: throttled.map(str::to_owned),
    })
}
