//! One kernel per fault, with and without it.

use gfx942_emulator::sanitize::{Finding, Kind};

use crate::device::{Shape, compile, findings};

/// A kernel, and what must be found in it: the kind, the instruction, the other one, and the first lane.
struct Fault {
    kernel: &'static str,
    kind: Kind,
    instruction: &'static str,
    other: Option<&'static str>,
    lane: Option<u32>,
    shape: Shape,
}

const fn fault(kernel: &'static str, kind: Kind, instruction: &'static str) -> Fault {
    Fault { kernel, kind, instruction, other: None, lane: None, shape: Shape::WAVE }
}

impl Fault {
    const fn after(self, other: &'static str) -> Self {
        Self { other: Some(other), ..self }
    }

    const fn lane(self, lane: u32) -> Self {
        Self { lane: Some(lane), ..self }
    }

    const fn groups(self) -> Self {
        Self { shape: Shape::GROUPS, ..self }
    }
}

use Kind::{Barrier, Race, Uninitialized, Wait};

const FAULTS: &[Fault] = &[
    fault("wait_vector", Wait, "v_add_u32").after("global_load_dword"),
    fault("wait_in_order", Wait, "v_add_u32").after("global_load_dword"),
    fault("wait_overwrite", Wait, "v_mov_b32").after("global_load_dword"),
    fault("wait_scalar", Wait, "s_add_u32").after("s_load_dword"),
    fault("wait_lds", Wait, "v_add_u32").after("ds_read_b32"),
    fault("wait_flat", Wait, "v_add_u32").after("flat_load_dword"),
    fault("wait_lds_load", Wait, "ds_read_b32").after("global_load_lds_dword").lane(0),
    fault("race_read", Race, "ds_").after("ds_").lane(0).groups(),
    fault("race_write", Race, "ds_").after("ds_").lane(0).groups(),
    fault("race_late", Race, "ds_read_b32").after("ds_write_b32").lane(0).groups(),
    fault("uninitialized_stored", Uninitialized, "global_store_dword").after("v_").lane(0),
    fault("uninitialized_lane", Uninitialized, "global_store_dword").after("v_mov_b32").lane(8),
    fault("uninitialized_accumulator", Uninitialized, "global_store_dword")
        .after("v_accvgpr_read_b32")
        .lane(0),
    fault("uninitialized_scalar", Uninitialized, "global_load_dword").after("s_mov_b32").lane(0),
    fault("uninitialized_branch", Uninitialized, "s_cbranch").after("s_mov_b32"),
    fault("uninitialized_lanes", Uninitialized, "s_and_saveexec_b64").after("v_cmp").lane(0),
    fault("uninitialized_address", Uninitialized, "global_load_dword").after("v_").lane(0),
    fault("uninitialized_lds", Uninitialized, "global_store_dword").after("ds_read").lane(37),
    fault("uninitialized_scratch", Uninitialized, "global_store_dword")
        .after("flat_load_dword")
        .lane(62),
    fault("uninitialized_device", Uninitialized, "global_store_dword").after("global_load").lane(0),
    fault("uninitialized_byte", Uninitialized, "global_store_dword").after("global_load").lane(7),
    fault("uninitialized_atomic", Uninitialized, "global_atomic_add").lane(0),
    fault("barrier_elsewhere", Barrier, "s_barrier").after("s_barrier").groups(),
    fault("barrier_ended", Barrier, "s_barrier").groups(),
    fault("barrier_lanes", Barrier, "s_barrier").lane(0),
];

fn source(is_faulty: bool) -> String {
    format!("#define FAULT {}\n{}", u32::from(is_faulty), include_str!("faults.hip"))
}

fn is_expected(finding: &Finding, fault: &Fault) -> bool {
    let other = finding.other.as_ref().map(|other| other.instruction.as_str());
    finding.kind == fault.kind
        && finding.kernel == fault.kernel
        && finding.work_group == [0; 3]
        && finding.site.instruction.starts_with(fault.instruction)
        && match (fault.other, other) {
            (Some(expected), Some(other)) => other.starts_with(expected),
            (expected, other) => expected.is_none() && other.is_none(),
        }
        && finding.lane == fault.lane
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("  {finding}\n")).collect()
}

#[test]
fn every_seeded_fault_is_found_where_it_is() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let object = compile(&toolchain, &source(true), &["-O3"]);
    let mut wrong = String::new();
    for fault in FAULTS {
        let found = findings(&object, fault.kernel, fault.shape);
        let one = found.iter().filter(|finding| is_expected(finding, fault)).count();
        if one == 0 || found.iter().any(|finding| finding.kind != fault.kind) {
            wrong += &format!("{}: found\n{}", fault.kernel, lines(&found));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn without_the_fault_there_is_silence() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let object = compile(&toolchain, &source(false), &["-O3"]);
    let mut wrong = String::new();
    for fault in FAULTS {
        wrong += &lines(&findings(&object, fault.kernel, fault.shape));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_finding_says_where_and_what_to_do() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let object = compile(&toolchain, &source(true), &["-O3"]);
    let found = findings(&object, "wait_vector", Shape::WAVE);
    let [finding] = &found[..] else { panic!("{}", lines(&found)) };
    let line = finding.to_string();
    for part in ["wait_vector: work-group [0, 0, 0], wave 0, pc 0x", "v21", "s_waitcnt vmcnt(0)"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!line.contains('\n'));
    let json = serde_json::to_value(finding).expect("a finding is plain data");
    assert_eq!(json["kind"], "wait");
    assert_eq!(json["kernel"], "wait_vector");
    assert_eq!(json["pc"], finding.site.pc);
}

#[test]
fn threads_do_not_show() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let object = compile(&toolchain, &source(true), &["-O3"]);
    for kernel in ["race_read", "uninitialized_lds"] {
        let found = [1, 2, 4].map(|num_threads| {
            findings(&object, kernel, Shape { grid: 9, block: 128, num_threads })
        });
        assert!(!found[0].is_empty());
        assert_eq!(found[0], found[1]);
        assert_eq!(found[0], found[2]);
    }
}
