//! Registers read and written, for instructions whose lists are known from the manual.

use gfx942_emulator::isa::{Access, Operand, decode};

fn runs(accesses: &[Access]) -> Vec<(u16, u8)> {
    let mut runs: Vec<_> = accesses.iter().map(|access| (access.first.0, access.dwords)).collect();
    runs.sort();
    runs
}

/// Words, then what is read and written as (first code, registers).
fn check(words: &[u32], text: &str, reads: &[(u16, u8)], writes: &[(u16, u8)]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let inst = decode(&bytes).expect("an instruction");
    assert_eq!(inst.to_string(), text);
    assert_eq!(runs(&inst.reads()), reads, "{text} reads");
    assert_eq!(runs(&inst.writes()), writes, "{text} writes");
}

#[test]
fn accesses_include_what_the_text_does_not_name() {
    let (vcc, exec, scc, m0) = ((106, 2), (126, 2), (Operand::SCC.0, 1), (124, 1));
    let v = |index: u16, dwords| (256 + index, dwords);
    check(&[0x8204_080c], "s_addc_u32 s4, s12, s8", &[(8, 1), (12, 1), scc], &[(4, 1), scc]);
    check(
        &[0xbe84_2008],
        "s_and_saveexec_b64 s[4:5], s[8:9]",
        &[(8, 2), exec],
        &[(4, 2), exec, scc],
    );
    check(
        &[0x3804_0906],
        "v_addc_co_u32_e32 v2, vcc, v6, v4, vcc",
        &[vcc, exec, v(4, 1), v(6, 1)],
        &[vcc, v(2, 1)],
    );
    check(
        &[0x7604_0906],
        "v_fmac_f32_e32 v2, v6, v4",
        &[exec, v(2, 1), v(4, 1), v(6, 1)],
        &[v(2, 1)],
    );
    check(
        &[0xd3c0_0010, 0x0422_0902],
        "v_mfma_f32_32x32x1_2b_f32 v[16:47], v2, v4, v[8:39]",
        &[v(2, 1), v(4, 1), v(8, 32)],
        &[v(16, 32)],
    );
    check(
        &[0xdc54_8000, 0x1004_0002],
        "global_load_dwordx2 v[16:17], v2, s[4:5]",
        &[(4, 2), exec, v(2, 1)],
        &[v(16, 2)],
    );
    check(
        &[0xe050_1000, 0x0502_0402],
        "buffer_load_dword v4, v2, s[8:11], s5 offen",
        &[(5, 1), (8, 4), exec, v(2, 1)],
        &[v(4, 1)],
    );
    check(
        &[0xe051_1000, 0x0502_0002],
        "buffer_load_dword v2, s[8:11], s5 offen lds",
        &[(5, 1), (8, 4), m0, exec, v(2, 1)],
        &[],
    );
    check(&[0x7da2_0906], "v_cmpx_lt_i32_e32 vcc, v6, v4", &[exec, v(4, 1), v(6, 1)], &[vcc, exec]);
}
