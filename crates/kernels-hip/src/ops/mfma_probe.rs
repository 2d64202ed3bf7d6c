//! `mfma_probe`: one matrix instruction at a time.

use super::WAVE_SIZE;
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant, everything};

const NAME: &str = "mfma_probe_v1_builtin";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] = &[Variant {
    op: "mfma_probe",
    name: NAME,
    reduction_class: "one instruction",
    supports: everything,
}];

/// The kernels that execute one matrix instruction each.
pub struct MfmaProbe {
    module: Module,
}

/// The operands of an instruction as registers: `words` of each lane, lane after lane.
pub struct Operands<'a> {
    /// D; of a sparse instruction, C before and D after.
    pub d: &'a mut Buffer<u32>,
    /// A.
    pub a: &'a Buffer<u32>,
    /// B.
    pub b: &'a Buffer<u32>,
    /// C; of a sparse instruction, the indices of A.
    pub c: &'a Buffer<u32>,
}

impl MfmaProbe {
    /// Loads `mfma_probe_v1_builtin`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(MfmaProbe { module: device.variant(NAME)? })
    }

    /// The mnemonics that there are, without `v_`.
    pub fn instructions(&self) -> impl Iterator<Item = &str> {
        self.module.kernel_names().filter_map(|name| name.strip_prefix(NAME)?.strip_prefix("__"))
    }

    /// Executes `instruction` in one wave.
    ///
    /// # Errors
    ///
    /// If there is no such instruction, or an operand has another size; HIP's.
    pub fn run(&self, stream: &Stream, instruction: &str, operands: Operands<'_>) -> Result<()> {
        let kernel: Kernel = self.module.kernel(&format!("{NAME}__{instruction}"))?;
        let words = words(instruction).ok_or_else(|| Error::Value {
            what: "the instruction",
            allowed: "a mnemonic of a matrix instruction",
            found: instruction.to_owned(),
        })?;
        let Operands { d, a, b, c } = operands;
        d.check_len("d", words.d * WAVE_SIZE)?;
        a.check_len("a", words.a * WAVE_SIZE)?;
        b.check_len("b", words.b * WAVE_SIZE)?;
        c.check_len("c", words.c * WAVE_SIZE)?;
        let args =
            [Argument::output(d), Argument::input(a), Argument::input(b), Argument::input(c)];
        // SAFETY: one wave touches, in each buffer, the registers of its lanes: as many words as checked above.
        unsafe { kernel.launch(stream, Geometry::linear(1, WAVE_SIZE as u32), &args) }
    }
}

/// Registers of each operand.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    d: usize,
    a: usize,
    b: usize,
    c: usize,
}

/// Reads `mfma_f32_32x32x4_2b_f16`, `smfmac_i32_16x16x64_i8`, `mfma_f32_16x16x32_fp8_bf8`.
fn words(instruction: &str) -> Option<Words> {
    let mut parts = instruction.split('_');
    let is_sparse = parts.next()? == "smfmac";
    let d_bits = bits(parts.next()?)?;
    let sizes: Vec<usize> = parts.next()?.split('x').map_while(|size| size.parse().ok()).collect();
    let [m, n, k] = sizes[..] else { return None };
    let mut rest: Vec<&str> = parts.collect();
    let blocks = rest.first()?.strip_suffix('b').and_then(|blocks| blocks.parse().ok());
    if blocks.is_some() {
        rest.remove(0);
    }
    let words =
        |elements: usize, bits: usize| elements * blocks.unwrap_or(1) * bits / (32 * WAVE_SIZE);
    let (a_bits, b_bits) = (bits(rest.first()?)?, bits(rest.last()?)?);
    let stored_k = if is_sparse { k / 2 } else { k };
    let d = words(m * n, d_bits);
    // The indices of a sparse A take one register.
    let c = if is_sparse { 1 } else { d };
    Some(Words { d, a: words(m * stored_k, a_bits), b: words(n * k, b_bits), c })
}

fn bits(element: &str) -> Option<usize> {
    Some(match element {
        "f64" => 64,
        "f32" | "xf32" | "i32" => 32,
        "f16" | "bf16" => 16,
        "i8" | "fp8" | "bf8" => 8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_llvms_operands() {
        let check =
            |name, d, a, b, c| assert_eq!(words(name), Some(Words { d, a, b, c }), "{name}");
        check("mfma_f32_32x32x1_2b_f32", 32, 1, 1, 32);
        check("mfma_f32_32x32x8_f16", 16, 2, 2, 16);
        check("mfma_i32_4x4x4_16b_i8", 4, 1, 1, 4);
        check("mfma_f32_16x16x8_xf32", 4, 2, 2, 4);
        check("mfma_f64_16x16x4_f64", 8, 2, 2, 8);
        check("mfma_f64_4x4x4_4b_f64", 2, 2, 2, 2);
        check("mfma_f32_16x16x32_fp8_bf8", 4, 2, 2, 4);
        check("smfmac_f32_16x16x32_bf16", 4, 2, 4, 1);
        check("smfmac_i32_32x32x32_i8", 16, 2, 4, 1);
        for wrong in ["mfma", "mfma_f32_16x16_f16", "mfma_f32_16x16x16_f12"] {
            assert_eq!(words(wrong), None, "{wrong}");
        }
    }
}
