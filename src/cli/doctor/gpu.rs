//! The recipe's "No ROCm devices found", "Architecture mismatch" and "Multi-GPU not working".

use std::collections::BTreeSet;

use kernels_hip::Runtime;
use kernels_hip::registry;

use super::machine::{Gpu, Machine};
use super::{Finding, gib};

/// What this build has kernels for.
pub(super) fn architectures() -> BTreeSet<&'static str> {
    registry::rows().iter().map(|row| row.arch).collect()
}

/// Everything that files and variables say about GPUs.
pub(super) fn findings(machine: &Machine, architectures: &BTreeSet<&str>) -> Vec<Finding> {
    let gpus = machine.gpus();
    let mut findings = vec![visibility(machine, &gpus)];
    for name in ["HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"] {
        findings.extend(visible_devices(machine, name, gpus.len()));
    }
    findings.extend(version_override(machine, &gpus));
    if gpus.is_empty() {
        return findings;
    }
    findings.push(architecture(&gpus, architectures));
    findings.extend(groups(machine));
    findings.extend(versions(machine));
    findings.extend(gpus.iter().enumerate().filter_map(|(index, gpu)| memory(index, gpu)));
    findings.extend(topology(&gpus));
    findings
}

fn visibility(machine: &Machine, gpus: &[Gpu]) -> Finding {
    const CHECK: &str = "GPU";
    let (has_kfd, has_dri) = (machine.exists("/dev/kfd"), machine.exists("/dev/dri"));
    match (gpus.len(), has_kfd, has_dri) {
        (0, false, _) => Finding::info(
            CHECK,
            "no AMD GPU here: --backend cpu runs everywhere, and the kernels for MI300X run in the emulator",
        ),
        (0, true, _) => Finding::failure(
            CHECK,
            "/dev/kfd is here, and the driver names no GPU",
            "look at dmesg for amdgpu; in a container give it /sys too",
        ),
        (count, true, true) => {
            let archs: BTreeSet<&str> = gpus.iter().map(|gpu| gpu.arch.as_str()).collect();
            let archs: Vec<&str> = archs.into_iter().collect();
            Finding::ok(CHECK, format!("{count} of {}", archs.join(", ")))
        }
        (count, _, _) => {
            let missing = if has_kfd { "/dev/dri" } else { "/dev/kfd" };
            Finding::failure(
                CHECK,
                format!("the driver names {count} GPUs, and there is no {missing}"),
                format!("start the container with --device={missing}, or load the amdgpu module"),
            )
        }
    }
}

/// Which GPUs a variable leaves. HIP stops at the first number that is none.
fn visible_devices(machine: &Machine, name: &'static str, num_gpus: usize) -> Option<Finding> {
    let value = machine.variable(name)?;
    let remedy = || match num_gpus {
        0 => format!("unset {name}: there is no GPU"),
        1 => format!("unset {name}, or set it to 0"),
        count => format!("unset {name}, or name GPUs from 0 to {}", count - 1),
    };
    let parts: Vec<&str> = value.split(',').map(str::trim).collect();
    // ROCR takes GPU-UUID as well, which are not to be checked from here.
    let is_wrong = |part: &&&str| {
        !part.starts_with("GPU-") && !part.parse().is_ok_and(|index: usize| index < num_gpus)
    };
    if num_gpus == 0 {
        return Some(Finding::warning(
            name,
            format!("is {value:?}, and there is no GPU"),
            remedy(),
        ));
    }
    Some(match parts.iter().find(is_wrong) {
        None => Finding::ok(name, format!("{} of {num_gpus} GPUs", parts.len())),
        Some(part) => Finding::failure(
            name,
            format!("is {value:?}: {part:?} is no GPU, and hides itself and all behind it"),
            remedy(),
        ),
    })
}

/// The recipe sets it always; it is needed never on an MI300X, and wrong on any other.
fn version_override(machine: &Machine, gpus: &[Gpu]) -> Option<Finding> {
    const CHECK: &str = "HSA_OVERRIDE_GFX_VERSION";
    let value = machine.variable(CHECK).filter(|value| !value.is_empty())?;
    let remedy = format!("unset {CHECK}");
    let mut parts = value.split('.').map(str::parse::<u32>);
    let claimed = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(step)), None) => {
            format!("gfx{major}{minor}{step:x}")
        }
        _ => {
            let finding = format!("is {value:?}, which is no version such as 9.4.2");
            return Some(Finding::failure(CHECK, finding, remedy));
        }
    };
    Some(match gpus.iter().find(|gpu| gpu.arch != claimed) {
        Some(gpu) => Finding::failure(
            CHECK,
            format!(
                "makes {} look like {claimed}: kernels for the wrong machine would be run",
                gpu.arch
            ),
            remedy,
        ),
        None if gpus.is_empty() => Finding::info(CHECK, format!("is {value}, and there is no GPU")),
        None => Finding::info(CHECK, format!("is {value}, as the GPU is without it: not needed")),
    })
}

fn architecture(gpus: &[Gpu], architectures: &BTreeSet<&str>) -> Finding {
    const CHECK: &str = "architecture";
    let built: Vec<&str> = architectures.iter().copied().collect();
    let built = built.join(", ");
    match gpus.iter().find(|gpu| !architectures.contains(gpu.arch.as_str())) {
        None => Finding::ok(CHECK, format!("kernels are built for {built}")),
        Some(_) if architectures.is_empty() => Finding::failure(
            CHECK,
            "this build has no HIP kernels: it found no hipcc",
            "build Kvasir again with ROCm's bin folder in PATH",
        ),
        Some(gpu) => Finding::failure(
            CHECK,
            format!("the GPU is {}, and kernels are built for {built}", gpu.arch),
            format!("build Kvasir again with KVASIR_HIP_ARCHS={}", gpu.arch),
        ),
    }
}

/// `render` owns /dev/kfd, and `video` does in older installations.
fn groups(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "groups";
    let status = machine.read("/proc/self/status")?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let ids = |text: &str| -> BTreeSet<u32> {
        text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    };
    if field("Uid:").is_some_and(|uids| ids(uids).contains(&0)) {
        return Some(Finding::ok(CHECK, "root needs none"));
    }
    let mut mine = field("Groups:").map(ids).unwrap_or_default();
    mine.extend(field("Gid:").map(ids).unwrap_or_default());
    let all = machine.read("/etc/group").unwrap_or_default();
    let lacks = |group: &&&str| {
        let line = all.lines().find_map(|line| line.strip_prefix(&format!("{group}:")));
        let id = line.and_then(|line| line.split(':').nth(1)).and_then(|id| id.parse().ok());
        id.is_some_and(|id: u32| !mine.contains(&id))
    };
    let lacking: Vec<&str> = ["render", "video"].iter().filter(lacks).copied().collect();
    if lacking.is_empty() {
        return Some(Finding::ok(CHECK, "render and video"));
    }
    let remedy = format!("sudo usermod -a -G {} $USER, then log in again", lacking.join(","));
    let finding = format!("this user is not in {}", lacking.join(" and "));
    Some(Finding::failure(CHECK, finding, remedy))
}

fn versions(machine: &Machine) -> Vec<Finding> {
    const CHECK: &str = "ROCm";
    let driver = machine.read("/sys/module/amdgpu/version");
    let driver = driver.map_or("the kernel's own driver".to_owned(), |v| format!("driver {v}"));
    let folders = ["ROCM_PATH", "ROCM_HOME"].iter().filter_map(|name| machine.variable(name));
    let folder = folders.chain(["opt/rocm"]).next().unwrap_or_default().trim_matches('/');
    let Some(version) = machine.read(&format!("{folder}/.info/version")) else {
        let remedy = "install ROCm 6.1 or later for --backend hip; ROCM_PATH says where it is";
        return vec![Finding::warning(CHECK, format!("not in /{folder}; {driver}"), remedy)];
    };
    let mut numbers = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let known: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    vec![if known < (6, 0) {
        Finding::failure(CHECK, format!("{version}, {driver}"), "install ROCm 6.1 or later")
    } else if known < (6, 1) {
        Finding::warning(CHECK, format!("{version}, {driver}"), "6.1 or later is recommended")
    } else {
        Finding::ok(CHECK, format!("{version}, {driver}"))
    }]
}

fn memory(index: usize, gpu: &Gpu) -> Option<Finding> {
    const CHECK: &str = "GPU memory";
    let (total, used) = gpu.memory?;
    let finding =
        format!("GPU {index}: {} free of {}", gib(total.saturating_sub(used)), gib(total));
    // What an idle GPU has in use is well below this.
    const BUSY_SHARE: u64 = 10;
    Some(if used > total / BUSY_SHARE {
        let remedy = "rocm-smi --showpids says who uses it; or lower --gpu-memory-utilization, --max-num-seqs or \
                      --max-model-len, or use --kv-cache-dtype fp8 or --swap-space";
        Finding::warning(CHECK, finding, remedy)
    } else {
        Finding::ok(CHECK, finding)
    })
}

fn topology(gpus: &[Gpu]) -> Option<Finding> {
    const CHECK: &str = "topology";
    let others = gpus.len() - 1;
    let lonely = gpus.iter().position(|gpu| gpu.num_xgmi_links < others);
    Some(match lonely {
        _ if others == 0 => return None,
        None => Finding::ok(CHECK, format!("each GPU has {others} links of Infinity Fabric")),
        Some(index) => Finding::warning(
            CHECK,
            format!(
                "GPU {index} has {} of {others} links of Infinity Fabric",
                gpus[index].num_xgmi_links
            ),
            "rocm-smi --showtopo; others are reached over PCIe, or not at all from a virtual machine",
        ),
    })
}

/// Whether libamdhip64, or the emulator in its place, can be loaded and has a device.
pub(super) fn library() -> Finding {
    const CHECK: &str = "libamdhip64";
    let named = std::env::var_os("KVASIR_HIP_LIBRARY").is_some_and(|name| !name.is_empty());
    let loaded = Runtime::load().and_then(|runtime| {
        let device = runtime.device(0)?;
        let (major, minor) = runtime.version();
        Ok(format!("HIP {major}.{minor}, {} of {}", runtime.num_devices()?, device.info().arch))
    });
    match loaded {
        Ok(found) => Finding::ok(CHECK, found),
        Err(error) if named || std::path::Path::new("/dev/kfd").exists() => {
            let remedy = "install ROCm's HIP runtime and add its lib folder to LD_LIBRARY_PATH; KVASIR_HIP_LIBRARY \
                          names another library";
            Finding::failure(CHECK, error.to_string().replace('\n', " "), remedy)
        }
        Err(_) => Finding::info(
            CHECK,
            "not here; for --backend hip without a GPU, KVASIR_HIP_LIBRARY names the emulator's libhip_emulator.so",
        ),
    }
}
