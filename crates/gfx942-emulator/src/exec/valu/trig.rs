//! `v_trig_preop_f64`: 53 bits of 2/π, for the reduction of large angles.

/// The first 1201 bits of the fraction 2/π, the most significant first, then zeros.
const TWO_OVER_PI: [u64; 19] = [
    0xa2f9_836e_4e44_1529,
    0xfc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041,
    0xfe51_63ab_debb_c561,
    0xb724_6e3a_424d_d2e0,
    0x0649_2eea_09d1_921c,
    0xfe1d_eb1c_b129_a73e,
    0xe882_35f5_2ebb_4484,
    0xe99c_7026_b45f_7e41,
    0x3991_d639_8353_39f4,
    0x9c84_5f8b_bdf9_283b,
    0x1ff8_97ff_de05_980f,
    0xef2f_118b_5a0a_6d1f,
    0x6d36_7ecf_27cb_09b7,
    0x4f46_3f66_9e5f_ea2d,
    0x7527_bac7_ebe5_f17b,
    0x3d07_39f7_8a52_92ea,
    0x6bfb_5fb1_1f8d_5d08,
    0x5603_3046_fc7b_0000,
];

/// 53 bits of 2/π at the place that the angle's exponent and `segment` choose, scaled.
pub(super) fn preop(angle: f64, segment: u32) -> f64 {
    let exponent = (angle.to_bits() >> 52 & 0x7ff) as i32;
    let mut shift = (segment & 31) as i32 * 53;
    if exponent > 1077 {
        shift += exponent - 1077;
    }
    // Left-shifting the 1201 bits by `shift` and keeping the lowest 53 of the whole part reads from this bit on.
    let bits = bits_from(shift);
    let scale = -53 - shift + if exponent >= 1968 { 128 } else { 0 };
    libm::ldexp(bits as f64, scale)
}

/// 53 bits from bit `start` on; beyond the end zeros.
fn bits_from(start: i32) -> u64 {
    let word = |index: i32| TWO_OVER_PI.get(index as usize).copied().unwrap_or(0);
    let (index, offset) = (start / 64, start % 64);
    let window = u128::from(word(index)) << 64 | u128::from(word(index + 1));
    (window << offset >> (128 - 53)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_add_up_to_two_over_pi() {
        let sum: f64 = (0..3).rev().map(|segment| preop(1.0, segment)).sum();
        assert_eq!(sum, std::f64::consts::FRAC_2_PI);
        // The second segment is what the first one lacks, to 106 bits: 2/π − fl(2/π).
        assert_eq!(preop(1.0, 0) + preop(1.0, 1), std::f64::consts::FRAC_2_PI);
        assert!(preop(1.0, 1) > 0.0 && preop(1.0, 1) < 2f64.powi(-53));
    }
}
