//! GFLOP/s of the matrix instructions on one core, fast and bit-exact:
//! `cargo bench -p gfx942-emulator --bench mfma`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gfx942_emulator::exec::mfma::{Accuracy, run};
use gfx942_emulator::exec::{Mode, Wave};
use gfx942_emulator::isa::{Extra, Flags, Format, Inst, Modifiers, Op, Operand};

/// Registers 0 to 63 hold moderate numbers in every type, D starts from zero at every execution.
fn wave() -> Wave {
    let mut wave = Wave::new(0, Mode(0xf0), u64::MAX, 0);
    let mut state = 1_u32;
    for register in 0..64 {
        for bits in wave.vector_mut(register) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *bits = state & 0xbbbb_bbbb | 0x3030_3030;
        }
    }
    // An index that names the first two of every four.
    wave.vector_mut(63).fill(0x4444_4444);
    wave
}

fn inst(op: Op) -> Inst {
    let c = if op.name().contains("smfmac") { Operand::vgpr(63) } else { Operand(128) };
    Inst {
        op,
        format: Format::Mai,
        size: 8,
        dst: Operand::vgpr(128),
        sdst: Operand::NONE,
        src: [Operand::vgpr(0), Operand::vgpr(16), c, Operand::NONE],
        literal: 0,
        offset: 0,
        flags: Flags::default(),
        modifiers: Modifiers::default(),
        extra: Extra::None,
        buffer_format: 0,
    }
}

/// Floating-point operations, from the name.
fn flops(name: &str) -> u64 {
    let parts: Vec<&str> = name.split('_').collect();
    let dims: u64 = parts[3].split('x').map(|dim| dim.parse::<u64>().unwrap()).product();
    let blocks = parts[4].strip_suffix('b').and_then(|blocks| blocks.parse().ok()).unwrap_or(1);
    2 * dims * blocks / if parts[1] == "smfmac" { 2 } else { 1 }
}

fn mfma(criterion: &mut Criterion) {
    for (name, accuracy) in [("mfma/fast", Accuracy::Fast), ("mfma/exact", Accuracy::Exact)] {
        let mut group = criterion.benchmark_group(name);
        for op in Op::ALL.iter().copied().filter(|op| op.name().contains("mfma")) {
            let (mut wave, inst) = (wave(), inst(op));
            // Not all can be exact.
            if run(&mut wave, &inst, accuracy).is_err() {
                continue;
            }
            group.throughput(Throughput::Elements(flops(op.name())));
            group.bench_function(op.name(), |bencher| {
                bencher.iter(|| run(black_box(&mut wave), black_box(&inst), accuracy));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, mfma);
criterion_main!(benches);
