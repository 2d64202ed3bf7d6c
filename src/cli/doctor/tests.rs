//! Machines that are not here, made of files.

use std::collections::BTreeSet;
use std::fs;

use super::machine::Machine;
use super::{Finding, Severity, gpu, host, text};

/// A folder that looks like a machine.
struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture(tempfile::tempdir().unwrap());
        fixture
            .file("proc/meminfo", "MemTotal:  2113000000 kB\nMemFree: 1 kB\nMemAvailable: 2000000000 kB\n")
            .file("proc/self/status", "Name:\tkvasir\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t44 109 1000 \n")
            .file("proc/self/limits", "Limit  Soft Limit  Hard Limit  Units\nMax open files  65536  1048576  files\nMax locked memory  unlimited  unlimited  bytes\n")
            .file("proc/sys/kernel/numa_balancing", "0\n")
            .file("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
            .file("sys/devices/system/node/node0/x", "")
            .file("sys/devices/system/node/node1/x", "")
    }

    /// Eight GPUs behind two CPUs, each with links to the seven others.
    fn mi300x() -> Fixture {
        let mut fixture = Fixture::new()
            .file("dev/kfd", "")
            .file("dev/dri/renderD128", "")
            .file("etc/group", "root:x:0:\nvideo:x:44:user\nrender:x:109:user\n")
            .file("opt/rocm/.info/version", "6.4.1-83\n")
            .file("sys/module/amdgpu/version", "6.12.12\n");
        for node in 0..2 {
            fixture =
                fixture.node(node, "cpu_cores_count 96\nsimd_count 0\ngfx_target_version 0\n");
        }
        for gpu in 0..8 {
            let minor = 128 + 8 * gpu;
            let properties = format!(
                "cpu_cores_count 0\nsimd_count 1216\ngfx_target_version 90402\ndrm_render_minor {minor}\n"
            );
            fixture = fixture.node(2 + gpu, &properties);
            for link in 0..8 {
                let kind = if link == 0 { 2 } else { 11 };
                let path = format!(
                    "sys/class/kfd/kfd/topology/nodes/{}/io_links/{link}/properties",
                    2 + gpu
                );
                fixture = fixture.file(&path, &format!("type {kind}\nweight 15\n"));
            }
            let device = format!("sys/class/drm/renderD{minor}/device");
            fixture = fixture
                .file(&format!("{device}/mem_info_vram_total"), "206141652992\n")
                .file(&format!("{device}/mem_info_vram_used"), "297000000\n");
        }
        fixture
    }

    fn node(self, node: u32, properties: &str) -> Fixture {
        self.file(&format!("sys/class/kfd/kfd/topology/nodes/{node}/properties"), properties)
    }

    fn file(self, path: &str, text: &str) -> Fixture {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn without(self, path: &str) -> Fixture {
        let path = self.0.path().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        self
    }

    fn examine(&self, variables: &[(&str, &str)]) -> Vec<Finding> {
        let machine = Machine::below(self.0.path(), variables);
        let mut findings = gpu::findings(&machine, &BTreeSet::from(["gfx942"]));
        findings.extend(host::findings(&machine));
        findings
    }
}

/// The check that is not well, which is the only one.
fn only(findings: &[Finding]) -> (&'static str, Severity, String) {
    let bad: Vec<&Finding> =
        findings.iter().filter(|finding| finding.severity >= Severity::Warning).collect();
    let [bad] = bad[..] else { panic!("one finding expected:\n{}", text(findings)) };
    assert!(bad.remedy.is_some(), "{bad:?}");
    (bad.check, bad.severity, bad.finding.clone())
}

#[track_caller]
fn assert_only(findings: &[Finding], check: &str, severity: Severity, words: &str) {
    let found = only(findings);
    assert_eq!((found.0, found.1), (check, severity), "{}", found.2);
    assert!(found.2.contains(words), "no {words:?} in {:?}", found.2);
}

#[test]
fn a_machine_with_eight_mi300x_is_well() {
    let findings = Fixture::mi300x().examine(&[("HIP_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")]);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{}", text(&findings));
    let text = text(&findings);
    for words in [
        "8 of gfx942",
        "8 of 8 GPUs",
        "GPU 7: 191.7 GiB free",
        "7 links",
        "6.4.1-83, driver 6.12.12",
        "render and video",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

#[test]
fn a_machine_without_a_gpu_is_well() {
    let findings = Fixture::new().examine(&[]);
    assert!(
        findings.iter().all(|finding| finding.severity <= Severity::Info),
        "{}",
        text(&findings)
    );
    assert!(text(&findings).contains("no AMD GPU here"), "{}", text(&findings));
    let findings = Fixture::new().examine(&[("HIP_VISIBLE_DEVICES", "0")]);
    assert_only(&findings, "HIP_VISIBLE_DEVICES", Severity::Warning, "there is no GPU");
}

#[test]
fn variables_that_hide_or_disguise_gpus_are_failures() {
    use Severity::Failure;
    let machine = Fixture::mi300x();
    for (variable, value, words) in [
        ("HIP_VISIBLE_DEVICES", "0,8", "\"8\" is no GPU"),
        ("HIP_VISIBLE_DEVICES", "", "\"\" is no GPU"),
        ("HIP_VISIBLE_DEVICES", "-1", "\"-1\" is no GPU"),
        ("ROCR_VISIBLE_DEVICES", "GPU-abc,9", "\"9\" is no GPU"),
        ("HSA_OVERRIDE_GFX_VERSION", "9.0.10", "look like gfx90a"),
        ("HSA_OVERRIDE_GFX_VERSION", "gfx942", "no version"),
    ] {
        assert_only(&machine.examine(&[(variable, value)]), variable, Failure, words);
    }
    // What the recipe has everybody set.
    let findings = machine.examine(&[("HSA_OVERRIDE_GFX_VERSION", "9.4.2")]);
    assert!(
        findings.iter().all(|finding| finding.severity <= Severity::Info),
        "{}",
        text(&findings)
    );
}

#[test]
fn each_thing_that_is_wrong_is_found_alone() {
    use Severity::{Failure, Warning};
    let status = "Uid:\t1000\t1000\nGid:\t1000\t1000\nGroups:\t44 1000\n";
    let limits =
        "Max open files  1024  4096  files\nMax locked memory  unlimited  unlimited  bytes\n";
    let locked =
        "Max open files  65536  65536  files\nMax locked memory  8388608  8388608  bytes\n";
    let mi300x = Fixture::mi300x;
    for (fixture, check, severity, words) in [
        (mi300x().without("dev/kfd"), "GPU", Failure, "no /dev/kfd"),
        (mi300x().without("dev/dri"), "GPU", Failure, "no /dev/dri"),
        (Fixture::new().file("dev/kfd", ""), "GPU", Failure, "names no GPU"),
        (mi300x().file("proc/self/status", status), "groups", Failure, "not in render"),
        (mi300x().file("opt/rocm/.info/version", "5.7.1"), "ROCm", Failure, "5.7.1"),
        (mi300x().file("opt/rocm/.info/version", "6.0.2"), "ROCm", Warning, "6.0.2"),
        (mi300x().without("opt/rocm"), "ROCm", Warning, "not in /"),
        (
            mi300x().file("sys/class/drm/renderD136/device/mem_info_vram_used", "190000000000"),
            "GPU memory",
            Warning,
            "GPU 1: 15.0 GiB free",
        ),
        (
            mi300x().without("sys/class/kfd/kfd/topology/nodes/5/io_links/3"),
            "topology",
            Warning,
            "GPU 3 has 6 of 7",
        ),
        (mi300x().file("proc/self/limits", limits), "open files", Warning, "at most 1024"),
        (mi300x().file("proc/self/limits", locked), "locked memory", Warning, "8.00 MiB"),
        (mi300x().file("proc/sys/kernel/numa_balancing", "1"), "NUMA", Warning, "2 nodes"),
        (
            mi300x().file("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]"),
            "huge pages",
            Warning,
            "never",
        ),
        (
            mi300x().file("proc/meminfo", "MemTotal: 9 kB\nMemAvailable: 9 kB\n"),
            "host memory",
            Warning,
            "0.0 GiB",
        ),
    ] {
        assert_only(&fixture.examine(&[]), check, severity, words);
    }
    let of_root =
        mi300x().file("proc/self/status", "Uid:\t0\t0\nGid:\t0\nGroups:\t0\n").examine(&[]);
    assert!(text(&of_root).contains("root needs none"), "{}", text(&of_root));
}

#[test]
fn kernels_for_another_machine_are_a_failure() {
    let fixture = Fixture::new()
        .file("dev/kfd", "")
        .file("dev/dri/x", "")
        .file("opt/rocm/.info/version", "6.4.1")
        .node(1, "simd_count 440\ngfx_target_version 90010\n");
    let findings = fixture.examine(&[]);
    assert_only(
        &findings,
        "architecture",
        Severity::Failure,
        "the GPU is gfx90a, and kernels are built for gfx942",
    );
    let machine = Machine::below(fixture.0.path(), &[]);
    let findings = gpu::findings(&machine, &BTreeSet::new());
    assert_only(&findings, "architecture", Severity::Failure, "found no hipcc");
}
