//! Where DPP reads from, against the table of the manual (13.3.9).

use super::*;
use crate::exec::Wave;
use crate::exec::valu::tests::{MODE, run, three};

fn dpp(ctrl: u16) -> Dpp {
    Dpp { ctrl, row_mask: 15, bank_mask: 15, bound_ctrl: false }
}

/// The lane whose number each lane gets; `None` where the destination stays.
fn moved(dpp: Dpp, exec: u64) -> [Option<u32>; WAVE_SIZE] {
    const OLD: u32 = 1000;
    let mut wave = Wave::new(0, MODE, exec, OLD);
    *wave.vector_mut(2) = std::array::from_fn(|lane| lane as u32);
    let mut inst = three(Op::v_mov_b32);
    inst.extra = Extra::Dpp(dpp);
    run(&mut wave, &inst).unwrap();
    wave.vector(0).map(|lane| (lane != OLD).then_some(lane))
}

#[test]
fn sources_of_lanes() {
    // Control, then what lanes 0, 1, 15, 16, 31, 33 and 63 read.
    let lanes = [0, 1, 15, 16, 31, 33, 63];
    let cases: &[(u16, [Option<u32>; 7])] = &[
        (0b00_01_10_11, [Some(3), Some(2), Some(12), Some(19), Some(28), Some(34), Some(60)]),
        (0x101, [Some(1), Some(2), None, Some(17), None, Some(34), None]),
        (0x111, [None, Some(0), Some(14), None, Some(30), Some(32), Some(62)]),
        (0x121, [Some(15), Some(0), Some(14), Some(31), Some(30), Some(32), Some(62)]),
        (0x130, [Some(1), Some(2), Some(16), Some(17), Some(32), Some(34), None]),
        (0x134, [Some(1), Some(2), Some(16), Some(17), Some(32), Some(34), Some(0)]),
        (0x138, [None, Some(0), Some(14), Some(15), Some(30), Some(32), Some(62)]),
        (0x13c, [Some(63), Some(0), Some(14), Some(15), Some(30), Some(32), Some(62)]),
        (0x140, [Some(15), Some(14), Some(0), Some(31), Some(16), Some(46), Some(48)]),
        (0x141, [Some(7), Some(6), Some(8), Some(23), Some(24), Some(38), Some(56)]),
        (0x142, [None, None, None, Some(15), Some(15), Some(31), Some(47)]),
        (0x143, [None, None, None, None, None, Some(31), Some(31)]),
        (0x153, [Some(3), Some(3), Some(3), Some(19), Some(19), Some(35), Some(51)]),
    ];
    for (ctrl, expected) in cases {
        let found = moved(dpp(*ctrl), u64::MAX);
        assert_eq!(lanes.map(|lane| found[lane]), *expected, "control {ctrl:#x}");
    }
}

#[test]
fn masks_and_bounds() {
    let rows = moved(Dpp { row_mask: 0b0010, ..dpp(0x140) }, u64::MAX);
    assert_eq!((rows[0], rows[16], rows[32]), (None, Some(31), None));
    let banks = moved(Dpp { bank_mask: 0b1000, ..dpp(0x140) }, u64::MAX);
    assert_eq!((banks[11], banks[12], banks[28]), (None, Some(3), Some(19)));
    let bounded = moved(Dpp { bound_ctrl: true, ..dpp(0x101) }, u64::MAX);
    assert_eq!((bounded[14], bounded[15]), (Some(15), Some(0)));
    // A lane that is switched off is no source.
    let partial = moved(dpp(0x101), !2);
    assert_eq!((partial[0], partial[1], partial[2]), (None, None, Some(3)));
    let zeroed = moved(Dpp { bound_ctrl: true, ..dpp(0x101) }, !2);
    assert_eq!((zeroed[0], zeroed[1]), (Some(0), None));
}

#[test]
fn reserved_controls_are_refused() {
    for ctrl in [0x100, 0x110, 0x120, 0x131, 0x144, 0x160, 0x1ff] {
        assert!(dpp_writes(dpp(ctrl), u64::MAX).is_err(), "{ctrl:#x}");
    }
}
