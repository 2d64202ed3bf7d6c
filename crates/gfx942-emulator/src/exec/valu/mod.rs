//! Vector arithmetic (manual, chapter 6 and 12.7 to 12.9, 12.11): one file per family of operations.

mod bytes;
mod call;
mod carry;
mod compare;
mod convert;
mod cross;
mod cube;
pub(super) mod directed;
mod divide;
pub(super) mod extreme;
mod float16;
mod float32;
mod float64;
mod fraction;
mod half;
mod integer;
mod modify;
mod multiply;
mod narrow;
mod polynomial;
mod transcendental;
mod trig;
mod value;
mod wide;

use super::{Options, Trap, Wave};
use crate::isa::{Format, Inst, Op};
use crate::simd::Simd;
use call::Call;

/// Executes `inst`.
pub(super) fn execute(
    wave: &mut Wave,
    inst: &Inst,
    options: &Options,
    simd: Simd,
) -> Result<(), Trap> {
    let mut call = Call::new(wave, inst, options, simd)?;
    family(inst)(&mut call)
}

/// The function that executes a family's operations.
type Family = fn(&mut Call<'_>) -> Result<(), Trap>;

/// The family that `inst` belongs to.
fn family(inst: &Inst) -> Family {
    use Op::*;
    if inst.format == Format::Vopc || is_compare(inst.op) {
        return compare::execute;
    }
    match inst.op {
        v_mov_b32 | v_not_b32 | v_bfrev_b32 | v_ffbh_u32 | v_ffbh_i32 | v_ffbl_b32 | v_and_b32
        | v_or_b32 | v_xor_b32 | v_xnor_b32 | v_lshlrev_b32 | v_lshrrev_b32 | v_ashrrev_i32
        | v_add_u32 | v_sub_u32 | v_subrev_u32 | v_add_i32 | v_sub_i32 | v_min_i32 | v_max_i32
        | v_min_u32 | v_max_u32 | v_min3_i32 | v_min3_u32 | v_max3_i32 | v_max3_u32
        | v_med3_i32 | v_med3_u32 | v_bfe_u32 | v_bfe_i32 | v_bfi_b32 | v_bfm_b32
        | v_alignbit_b32 | v_alignbyte_b32 | v_lshl_add_u32 | v_add_lshl_u32 | v_add3_u32
        | v_lshl_or_b32 | v_and_or_b32 | v_or3_b32 | v_xad_u32 | v_bcnt_u32_b32 => integer::execute,
        v_mul_lo_u32 | v_mul_hi_u32 | v_mul_hi_i32 | v_mul_u32_u24 | v_mul_i32_i24
        | v_mul_hi_u32_u24 | v_mul_hi_i32_i24 | v_mad_u32_u24 | v_mad_i32_i24 | v_mad_u32_u16
        | v_mad_i32_i16 => multiply::execute,
        v_mov_b64 | v_lshlrev_b64 | v_lshrrev_b64 | v_ashrrev_i64 | v_lshl_add_u64 => wide::execute,
        v_add_co_u32 | v_sub_co_u32 | v_subrev_co_u32 | v_addc_co_u32 | v_subb_co_u32
        | v_subbrev_co_u32 | v_mad_u64_u32 | v_mad_i64_i32 | v_cndmask_b32 => carry::execute,
        v_add_u16 | v_sub_u16 | v_subrev_u16 | v_add_i16 | v_sub_i16 | v_mul_lo_u16
        | v_lshlrev_b16 | v_lshrrev_b16 | v_ashrrev_i16 | v_min_i16 | v_max_i16 | v_min_u16
        | v_max_u16 | v_min3_i16 | v_min3_u16 | v_max3_i16 | v_max3_u16 | v_med3_i16
        | v_med3_u16 | v_mad_i16 | v_mad_u16 | v_mad_legacy_i16 | v_mad_legacy_u16
        | v_pack_b32_f16 | v_sat_pk_u8_i16 => half::execute,
        v_perm_b32 | v_lerp_u8 | v_sad_u8 | v_sad_hi_u8 | v_sad_u16 | v_sad_u32 | v_msad_u8
        | v_qsad_pk_u16_u8 | v_mqsad_pk_u16_u8 | v_mqsad_u32_u8 => bytes::execute,
        v_nop | v_clrexcp | v_readlane_b32 | v_readfirstlane_b32 | v_writelane_b32 | v_swap_b32
        | v_mbcnt_lo_u32_b32 | v_mbcnt_hi_u32_b32 => cross::execute,
        v_add_f32 | v_sub_f32 | v_subrev_f32 | v_mul_f32 | v_mul_legacy_f32 | v_fma_f32
        | v_fmac_f32 | v_fmamk_f32 | v_fmaak_f32 | v_min_f32 | v_max_f32 | v_min3_f32
        | v_max3_f32 | v_med3_f32 => float32::execute,
        v_add_f64 | v_mul_f64 | v_fma_f64 | v_fmac_f64 | v_min_f64 | v_max_f64
        | v_trig_preop_f64 => float64::execute,
        v_add_f16 | v_sub_f16 | v_subrev_f16 | v_mul_f16 | v_mac_f16 | v_mad_f16
        | v_mad_legacy_f16 | v_madak_f16 | v_madmk_f16 | v_fma_f16 | v_fma_legacy_f16
        | v_min_f16 | v_max_f16 | v_min3_f16 | v_max3_f16 | v_med3_f16 => float16::execute,
        v_trunc_f32 | v_ceil_f32 | v_rndne_f32 | v_floor_f32 | v_fract_f32 | v_trunc_f64
        | v_ceil_f64 | v_rndne_f64 | v_floor_f64 | v_fract_f64 | v_trunc_f16 | v_ceil_f16
        | v_rndne_f16 | v_floor_f16 | v_fract_f16 | v_frexp_exp_i32_f32 | v_frexp_mant_f32
        | v_frexp_exp_i32_f64 | v_frexp_mant_f64 | v_frexp_exp_i16_f16 | v_frexp_mant_f16
        | v_ldexp_f32 | v_ldexp_f64 | v_ldexp_f16 => fraction::execute,
        v_div_scale_f32
        | v_div_scale_f64
        | v_div_fmas_f32
        | v_div_fmas_f64
        | v_div_fixup_f32
        | v_div_fixup_f64
        | v_div_fixup_f16
        | v_div_fixup_legacy_f16 => divide::execute,
        v_exp_f32 | v_exp_legacy_f32 | v_exp_f16 | v_log_f32 | v_log_legacy_f32 | v_log_f16
        | v_rcp_f32 | v_rcp_iflag_f32 | v_rcp_f16 | v_rcp_f64 | v_rsq_f32 | v_rsq_f16
        | v_rsq_f64 | v_sqrt_f32 | v_sqrt_f16 | v_sqrt_f64 | v_sin_f32 | v_sin_f16 | v_cos_f32
        | v_cos_f16 => transcendental::execute,
        v_cvt_f16_f32 | v_cvt_f32_f16 | v_cvt_f16_i16 | v_cvt_f16_u16 | v_cvt_i16_f16
        | v_cvt_u16_f16 | v_cvt_f32_f64 | v_cvt_f64_f32 | v_cvt_f32_i32 | v_cvt_f32_u32
        | v_cvt_f64_i32 | v_cvt_f64_u32 | v_cvt_i32_f32 | v_cvt_u32_f32 | v_cvt_i32_f64
        | v_cvt_u32_f64 | v_cvt_flr_i32_f32 | v_cvt_rpi_i32_f32 | v_cvt_off_f32_i4
        | v_cvt_f32_ubyte0 | v_cvt_f32_ubyte1 | v_cvt_f32_ubyte2 | v_cvt_f32_ubyte3 => {
            convert::execute
        }
        v_cvt_norm_i16_f16 | v_cvt_norm_u16_f16 | v_cvt_pk_i16_i32 | v_cvt_pk_u16_u32
        | v_cvt_pk_u8_f32 | v_cvt_pkaccum_u8_f32 | v_cvt_pknorm_i16_f16 | v_cvt_pknorm_i16_f32
        | v_cvt_pknorm_u16_f16 | v_cvt_pknorm_u16_f32 | v_cvt_pkrtz_f16_f32 | v_cvt_f32_fp8
        | v_cvt_f32_bf8 | v_cvt_pk_f32_fp8 | v_cvt_pk_f32_bf8 | v_cvt_pk_fp8_f32
        | v_cvt_pk_bf8_f32 | v_cvt_sr_fp8_f32 | v_cvt_sr_bf8_f32 => narrow::execute,
        v_cubeid_f32 | v_cubesc_f32 | v_cubetc_f32 | v_cubema_f32 => cube::execute,
        _ => unimplemented,
    }
}

/// `v_cmp` and `v_cmpx` in all encodings: their names are neighbours.
const fn is_compare(op: Op) -> bool {
    Op::v_cmp_class_f16 as u16 <= op as u16 && op as u16 <= Op::v_cmpx_u_f64 as u16
}

fn unimplemented(call: &mut Call<'_>) -> Result<(), Trap> {
    call.unimplemented()
}

#[cfg(test)]
pub(super) mod tests;
