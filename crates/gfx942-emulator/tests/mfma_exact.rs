//! The bit-exact mode against another implementation of the published model: see `oracles/mfma_exact.py`.

mod mfma_support;

use gfx942_emulator::WAVE_SIZE;
use gfx942_emulator::exec::Wave;
use gfx942_emulator::exec::mfma::Accuracy;
use gfx942_emulator::isa::{Modifiers, Operand};
use mfma_support::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    op: String,
    masks: [(u64, u64); 3],
    cancel: bool,
    seed: u64,
    d: Vec<u32>,
}

impl Case {
    fn wave(&self) -> Wave {
        let shape = Shape::of(&self.op);
        let mut random = Random(self.seed);
        let mut wave = Wave::new(0, MODE, 0, 0xdead_beef);
        let operands = [
            (A, shape.items(), num_bits(&shape.a), 1),
            (B, shape.items(), num_bits(&shape.b), 0),
            (C, shape.num_outputs(), 32, 0),
        ];
        for ((operand, num, bits, sign), (clear, set)) in operands.into_iter().zip(self.masks) {
            let mut items: Vec<[u64; WAVE_SIZE]> = Vec::new();
            for item in 0..num {
                let mut values: [u64; WAVE_SIZE] =
                    std::array::from_fn(|_| random.next() & ((1 << bits) - 1) & clear | set);
                if self.cancel && operand != C && item % 2 == 1 {
                    let last = items[item - 1];
                    values = std::array::from_fn(|lane| {
                        last[lane] ^ values[lane] & 1 ^ sign << (bits - 1)
                    });
                }
                items.push(values);
            }
            pack(&mut wave, operand.vector_index().unwrap(), &items, bits);
        }
        wave
    }

    fn run(&self, accuracy: Accuracy) -> Vec<u32> {
        let mut wave = self.wave();
        execute(&mut wave, &self.op, Modifiers::default(), accuracy).unwrap();
        checksums(&wave, self.d.len())
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("oracles/mfma_exact.json")).unwrap()
}

#[test]
fn bit_exact_results_are_those_of_the_published_model() {
    let mut failed = Vec::new();
    for (index, case) in cases().iter().enumerate() {
        if case.run(Accuracy::Exact) != case.d {
            failed.push(format!(
                "{index}: {} masks {:x?} cancel {}",
                case.op, case.masks, case.cancel
            ));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// For f32 the model is the chain of FMAs; for all else the two must differ where sums cancel.
#[test]
fn fast_results_are_others() {
    for case in cases() {
        let differs = case.run(Accuracy::Fast) != case.d;
        if case.op.ends_with("_f32") {
            assert!(!differs, "{}", case.op);
        } else if case.cancel && case.masks[2] != (0, 0) && !case.op.contains("4x4x4") {
            let everything = case.masks[0].0 == 0xffff_ffff;
            assert!(differs || everything, "{} {:x?}", case.op, case.masks);
        }
    }
}

#[test]
fn sparse_products_of_floats_have_no_exact_mode() {
    let mut wave = Wave::new(0, MODE, 0, 0);
    let modifiers = Modifiers::default();
    wave.vectors_mut(64..65)[0].fill(0x4444_4444);
    assert_eq!(C, Operand::vgpr(64));
    let error =
        execute(&mut wave, "v_smfmac_f32_16x16x32_f16", modifiers, Accuracy::Exact).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bit-exact v_smfmac_f32_16x16x32_f16 is not implemented in the emulator"
    );
    execute(&mut wave, "v_smfmac_i32_16x16x64_i8", modifiers, Accuracy::Exact).unwrap();
}
