//! What the rest of the machine is set to.

use indicatif::HumanBytes;

use super::machine::Machine;
use super::{Finding, gib};

/// Memory, NUMA, huge pages, limits.
pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    [
        memory(machine),
        numa(machine),
        huge_pages(machine),
        open_files(machine),
        locked_memory(machine),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn memory(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "host memory";
    let text = machine.read("/proc/meminfo")?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
    };
    let (total, available) = bytes("MemTotal:").zip(bytes("MemAvailable:"))?;
    let finding = format!("{} available of {}", gib(available), gib(total));
    // Below this, not even a small model and its default KV cache have room.
    const LEAST: u64 = 2 << 30;
    Some(if available < LEAST {
        Finding::warning(CHECK, finding, "end what else runs, or give --kv-cache-memory-bytes less")
    } else {
        Finding::ok(CHECK, finding)
    })
}

fn numa(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "NUMA";
    let nodes = machine.names("/sys/devices/system/node");
    let is_node =
        |name: &&String| name.strip_prefix("node").is_some_and(|id| id.parse::<u32>().is_ok());
    let count = nodes.iter().filter(is_node).count();
    let balancing = machine.read("/proc/sys/kernel/numa_balancing")?;
    Some(if count > 1 && balancing != "0" {
        Finding::warning(
            CHECK,
            format!("{count} nodes, and the kernel moves pages between them"),
            "sudo sysctl kernel.numa_balancing=0; start with numactl near the GPU",
        )
    } else {
        Finding::ok(CHECK, format!("{} node(s), pages stay where they are", count.max(1)))
    })
}

fn huge_pages(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "huge pages";
    let text = machine.read("/sys/kernel/mm/transparent_hugepage/enabled")?;
    let chosen = text.split('[').nth(1)?.split(']').next()?;
    Some(match chosen {
        "never" => Finding::warning(
            CHECK,
            "never used: weights and KV take more entries of the TLB",
            "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        chosen => Finding::ok(CHECK, chosen),
    })
}

/// A server holds a descriptor for each client, and the KV store some for its files.
fn open_files(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "open files";
    const ENOUGH: u64 = 4096;
    let limit = limit(machine, "Max open files")?;
    Some(match limit.parse::<u64>() {
        Ok(count) if count < ENOUGH => Finding::warning(
            CHECK,
            format!("at most {count}: each client of the server takes one"),
            "ulimit -n 65536, or LimitNOFILE= of the service",
        ),
        _ => Finding::ok(CHECK, format!("at most {limit}")),
    })
}

/// Pinned memory is what GPUs copy from fast.
fn locked_memory(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "locked memory";
    let limit = limit(machine, "Max locked memory")?;
    Some(match limit.parse::<u64>() {
        Ok(bytes) if machine.exists("/dev/kfd") => Finding::warning(
            CHECK,
            format!("at most {}", HumanBytes(bytes)),
            "ulimit -l unlimited, or --ulimit memlock=-1 of the container",
        ),
        Ok(bytes) => {
            Finding::ok(CHECK, format!("at most {}; enough without a GPU", HumanBytes(bytes)))
        }
        Err(_) => Finding::ok(CHECK, limit),
    })
}

/// The soft limit.
fn limit(machine: &Machine, name: &str) -> Option<String> {
    let limits = machine.read("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next().map(str::to_owned)
}
