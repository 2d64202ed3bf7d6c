//! No bytes make the decoder panic, and what it decodes it can print.

use gfx942_emulator::isa::{DecodeError, decode};

use crate::sampler::{FORMATS, Random, sample};

#[test]
fn any_bytes_decode_or_are_an_error_with_the_word() {
    let mut random = Random(7);
    let mut num_decoded = 0;
    for i in 0..2_000_000 {
        let mut words = [random.word(), random.word()];
        if i % 2 == 0 {
            let format = random.word() as usize % FORMATS.len();
            let opcodes = &FORMATS[format].3;
            words = sample(format, random.word() % opcodes.end, &mut random);
        }
        let bytes = words.map(u32::to_le_bytes).concat();
        let length = if i % 16 == 0 { random.word() as usize % 8 } else { 8 };
        match decode(&bytes[..length]) {
            Ok(inst) => {
                num_decoded += 1;
                assert!(usize::from(inst.size) <= length);
                assert!(inst.to_string().starts_with(inst.op.name()));
                assert!(inst.reads().len() + inst.writes().len() < 16);
            }
            Err(DecodeError::Truncated { num_bytes }) => assert_eq!(num_bytes, length),
            Err(error) => assert!(error.to_string().contains(&format!("{:#010x}", words[0]))),
        }
    }
    assert!(num_decoded > 400_000, "only {num_decoded} decoded");
}
