//! Wait states: each rule with one too few, and with just enough.

use std::fmt::Write;

use gfx942_emulator::sanitize::Kind;

use crate::device::{Shape, compile, findings};

/// An instruction, the wait states that it needs, and the instruction that needs them.
const RULES: &[(&str, u32, &str)] = &[
    // Table 37: matrix instructions.
    ("v_mov_b32 v20, 1", 2, "v_mfma_f32_4x4x1_16b_f32 a[0:3], v20, v21, a[0:3]"),
    ("v_accvgpr_write_b32 a0, 1", 2, "v_mfma_f32_4x4x1_16b_f32 a[0:3], v20, v21, a[0:3]"),
    ("v_cmpx_eq_u32 vcc, v20, v20", 4, "v_mfma_f32_4x4x1_16b_f32 a[0:3], v20, v21, a[0:3]"),
    ("v_mfma_f32_4x4x4_16b_f16 v[40:43], v[20:21], v[22:23], v[40:43]", 5, "v_add_u32 v30, 1, v41"),
    ("v_mfma_f32_16x16x16_f16 v[40:43], v[20:21], v[22:23], v[40:43]", 7, "v_add_u32 v30, 1, v43"),
    (
        "v_mfma_f32_32x32x8_f16 v[40:55], v[20:21], v[22:23], v[40:55]",
        11,
        "global_store_dword %0, v50, off",
    ),
    (
        "v_mfma_f32_32x32x8_f16 a[0:15], v[20:21], v[22:23], a[0:15]",
        11,
        "v_accvgpr_read_b32 v30, a3",
    ),
    ("v_mfma_f32_32x32x2_f32 v[40:55], v20, v21, v[40:55]", 18, "v_add_u32 v30, 1, v41"),
    ("v_mfma_f32_4x4x1_16b_f32 v[40:43], v20, v21, v[40:43]", 4, "v_add_u32 v30, 1, v41"),
    ("v_mfma_f64_16x16x4_f64 v[40:47], v[20:21], v[22:23], v[40:47]", 11, "v_add_u32 v30, 1, v41"),
    (
        "v_mfma_f64_16x16x4_f64 v[40:47], v[20:21], v[22:23], v[40:47]",
        18,
        "global_store_dword %0, v41, off",
    ),
    ("v_mfma_f64_4x4x4_4b_f64 v[40:41], v[20:21], v[22:23], v[40:41]", 6, "v_add_u32 v30, 1, v41"),
    (
        "v_mfma_f64_4x4x4_4b_f64 v[40:41], v[20:21], v[22:23], v[40:41]",
        9,
        "global_store_dword %0, v41, off",
    ),
    (
        "v_mfma_f64_4x4x4_4b_f64 v[40:41], v[20:21], v[22:23], v[40:41]",
        4,
        "v_mfma_f64_4x4x4_4b_f64 v[44:45], v[20:21], v[22:23], v[40:41]",
    ),
    (
        "v_mfma_f64_4x4x4_4b_f64 a[0:1], v[20:21], v[22:23], a[0:1]",
        2,
        "v_fma_f64 v[30:31], v[20:21], v[20:21], v[20:21]",
    ),
    (
        "v_mfma_f32_4x4x4_16b_f16 v[40:43], v[20:21], v[22:23], v[40:43]",
        2,
        "v_mfma_f32_4x4x4_16b_f16 v[44:47], v[20:21], v[22:23], v[40:43]",
    ),
    (
        "v_mfma_f32_16x16x16_f16 v[40:43], v[20:21], v[22:23], v[40:43]",
        5,
        "v_mfma_f32_16x16x16_f16 v[50:53], v[20:21], v[22:23], v[42:45]",
    ),
    (
        "v_mfma_f32_16x16x4_f32 v[40:43], v20, v21, v[40:43]",
        8,
        "v_mfma_f32_16x16x4_f32 v[50:53], v20, v21, v[42:45]",
    ),
    (
        "v_mfma_f32_16x16x16_f16 v[40:43], v[20:21], v[22:23], v[40:43]",
        7,
        "v_mfma_f32_16x16x16_f16 v[50:53], v[42:43], v[22:23], v[56:59]",
    ),
    ("v_mfma_f32_16x16x16_f16 v[40:43], v[20:21], v[22:23], v[40:43]", 7, "v_mov_b32 v41, 0"),
    ("v_mfma_f32_16x16x16_f16 v[50:53], v[20:21], v[22:23], v[40:43]", 3, "v_mov_b32 v41, 0"),
    ("v_smfmac_f32_16x16x32_f16 v[40:43], v[20:21], v[22:25], v28", 7, "v_add_u32 v30, 1, v41"),
    ("v_dot4_i32_i8 v40, v20, v21, v22", 3, "v_add_u32 v30, 1, v40"),
    ("v_dot4_i32_i8 v40, v20, v21, v22", 3, "v_dot4_i32_i8 v41, v40, v21, v22"),
    // Table 11.
    ("v_readfirstlane_b32 s40, v27", 5, "global_load_dword v30, v26, s[40:41]"),
    ("v_readfirstlane_b32 s42, v20", 4, "v_readlane_b32 s43, v20, s42"),
    ("v_readfirstlane_b32 s42, v20", 4, "v_writelane_b32 v20, 1, s42"),
    ("v_readfirstlane_b32 s42, v20", 2, "v_add_u32 v30, s42, v20"),
    ("v_cmp_eq_u32 vcc, v20, v21", 4, "v_div_fmas_f32 v30, v20, v21, v22"),
    (
        "v_cmpx_eq_u32 vcc, v20, v20",
        5,
        "v_mov_b32_dpp v30, v26 quad_perm:[0,1,2,3] row_mask:0xf bank_mask:0xf",
    ),
    ("v_cmpx_eq_u32 vcc, v20, v20", 4, "v_readfirstlane_b32 s42, v26"),
    (
        "v_mov_b32 v20, 1",
        2,
        "v_mov_b32_dpp v30, v20 quad_perm:[1,0,3,2] row_mask:0xf bank_mask:0xf",
    ),
    ("v_mov_b32 v20, 1", 1, "v_readlane_b32 s42, v20, 0"),
    ("v_rcp_f32 v20, v21", 1, "v_add_f32 v30, v20, v21"),
    (
        "v_add_f16_sdwa v40, v20, v21 dst_sel:WORD_1 dst_unused:UNUSED_PRESERVE src0_sel:WORD_0 src1_sel:WORD_0",
        1,
        "v_add_u32 v30, v40, v20",
    ),
    ("s_mov_b32 m0, s46", 1, "s_movrels_b32 s42, s44"),
    ("s_mov_b32 m0, s46", 1, "ds_read_addtid_b32 v30"),
    ("s_setreg_imm32_b32 hwreg(HW_REG_MODE, 0, 2), 0", 2, "s_getreg_b32 s42, hwreg(HW_REG_MODE)"),
    (
        "s_setreg_imm32_b32 hwreg(HW_REG_MODE, 0, 2), 0",
        2,
        "s_setreg_imm32_b32 hwreg(HW_REG_MODE, 2, 2), 0",
    ),
    ("global_store_dwordx4 %0, v[40:43], off", 2, "v_mov_b32 v41, 0"),
];

/// What may follow at once.
const FREE: &[(&str, &str)] = &[
    ("v_mov_b32 v20, 1", "v_add_u32 v30, v20, v20"),
    (
        "v_mfma_f32_16x16x16_f16 v[40:43], v[20:21], v[22:23], v[40:43]",
        "v_mfma_f32_16x16x16_f16 v[40:43], v[20:21], v[22:23], v[40:43]",
    ),
    ("v_mfma_f32_32x32x8_f16 a[0:15], v[20:21], v[22:23], a[0:15]", "v_add_u32 v30, v20, v22"),
    ("v_dot4_i32_i8 v40, v20, v21, v40", "v_dot4_i32_i8 v40, v20, v21, v40"),
    ("v_rcp_f32 v20, v21", "v_rcp_f32 v30, v20"),
    ("v_readfirstlane_b32 s42, v20", "s_add_u32 s43, s42, 1"),
    ("v_cmp_eq_u32 vcc, v20, v21", "v_cndmask_b32 v30, v20, v21, vcc"),
    ("global_store_dwordx2 %0, v[40:41], off", "v_mov_b32 v41, 0"),
    ("s_mov_b32 s42, 1", "v_add_u32 v30, s42, v20"),
];

/// `s_nop` for so many wait states.
fn wait(states: u32) -> String {
    let mut text = String::new();
    let mut left = states;
    while left > 0 {
        let now = left.min(16);
        write!(text, "s_nop {}\\n", now - 1).unwrap();
        left -= now;
    }
    text
}

fn kernel(text: &mut String, name: &str, first: &str, states: u32, second: &str) {
    let mut registers: String = (20..60).map(|i| format!("v_mov_b32 v{i}, 0\\n")).collect();
    registers += &(0..16).map(|i| format!("v_accvgpr_write_b32 a{i}, 0\\n")).collect::<String>();
    registers += &(42..48).map(|i| format!("s_mov_b32 s{i}, 0\\n")).collect::<String>();
    registers += "v_mov_b32 v28, 0x44444444\\n s_mov_b64 s[40:41], %1\\n v_mov_b32 v27, s40\\n s_mov_b64 vcc, 0\\n s_mov_b32 m0, 0\\n";
    let vgprs: String = (20..60).map(|i| format!("\"v{i}\",")).collect();
    let agprs: String = (0..16).map(|i| format!("\"a{i}\",")).collect();
    let sgprs: String = (40..48).map(|i| format!("\"s{i}\",")).collect();
    let (before, between) = (wait(32), wait(states));
    writeln!(
        text,
        "extern \"C\" __global__ __launch_bounds__(64) void {name}(const unsigned *in, unsigned *out) {{
    asm volatile(\"{registers}{before}{first}\\n{between}{second}\\n{before}s_waitcnt vmcnt(0) lgkmcnt(0)\"
        : : \"v\"(out + threadIdx.x * 4), \"s\"(in) : {vgprs} {agprs} {sgprs} \"vcc\", \"memory\");
    out[threadIdx.x] = 1;
}}"
    )
    .unwrap();
}

fn mnemonic(instruction: &str) -> &str {
    instruction.split(' ').next().unwrap_or(instruction)
}

#[test]
fn one_wait_state_too_few_is_found_and_enough_is_not() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let mut text = String::from("#include <hip/hip_runtime.h>\n");
    for (i, (first, states, second)) in RULES.iter().enumerate() {
        kernel(&mut text, &format!("faulty_{i}"), first, states - 1, second);
        kernel(&mut text, &format!("right_{i}"), first, *states, second);
    }
    for (i, (first, second)) in FREE.iter().enumerate() {
        kernel(&mut text, &format!("free_{i}"), first, 0, second);
    }
    let object = compile(&toolchain, &text, &["-O1"]);
    let mut wrong = String::new();
    for (i, (first, states, second)) in RULES.iter().enumerate() {
        let found = findings(&object, &format!("faulty_{i}"), Shape::WAVE);
        let is_found = found.len() == 1
            && found.iter().all(|finding| {
                let other = finding.other.as_ref().map_or("", |other| &other.instruction);
                finding.kind == Kind::WaitStates
                    && mnemonic(&finding.site.instruction).starts_with(mnemonic(second))
                    && mnemonic(other).starts_with(mnemonic(first))
                    && finding.text.contains(&format!("{states} wait states are needed"))
            });
        if !is_found {
            wrong += &format!("{first} ► {second}, one too few: {found:#?}\n");
        }
        for finding in findings(&object, &format!("right_{i}"), Shape::WAVE) {
            wrong += &format!("{first} ► {second}, enough: {finding}\n");
        }
    }
    for (i, (first, second)) in FREE.iter().enumerate() {
        for finding in findings(&object, &format!("free_{i}"), Shape::WAVE) {
            wrong += &format!("{first} ► {second}, free: {finding}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
