//! What decode attention must reach by the emulator's counters, at the design's size: 64 sequences of 8192 tokens, 32
//! query and 8 KV heads of 128. A sequence moves the same bytes whatever its batch, so that two of them stand for all;
//! with `KVASIR_LONG=1` there are 64.
#![forbid(unsafe_code)]

#[path = "support/device.rs"]
mod support;

use std::env;
use std::sync::Arc;

use engine_core::batch::Batch;
use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::Cols;
use kernels_hip::kv_layout::KvLayout;
use kernels_hip::ops::{Attention, AttentionInputs, AttentionOutputs, PagedBatch};
use kernels_hip::variant::Choices;
use serde::Deserialize;

const SEQ_LEN: usize = 8192;
const NUM_QO_HEADS: usize = 32;
const NUM_KV_HEADS: usize = 8;
const HEAD_DIM: usize = 128;
const BLOCK_SIZE: usize = 16;

/// Bytes of a line of L2.
const LINE_BYTES: u64 = 128;

/// Waves that a compute unit has of the design's batch: the work list makes as many work-groups, of one wave each.
const WAVES_PER_CU: f64 = 4.0;

/// A launch, of `gfx942_emulator::count::Report`.
#[derive(Deserialize)]
struct Counted {
    kernel: String,
    memory: Memory,
    loads_in_flight: LoadsInFlight,
    resources: Resources,
}

#[derive(Deserialize)]
struct Memory {
    l2: L2,
}

#[derive(Deserialize)]
struct L2 {
    load_misses: u64,
    store_misses: u64,
}

#[derive(Deserialize)]
struct LoadsInFlight {
    mean_bytes_per_wave_at_waits: f64,
}

#[derive(Deserialize)]
struct Resources {
    waves_per_cu: u32,
}

/// What a decode step's attention was counted to do.
struct Decode {
    bytes: f64,
    min_bytes: f64,
    loads_in_flight_per_cu: f64,
}

/// One row of each sequence over a cache of one number.
fn decode(kv_dtype: KvDType, num_seqs: usize) -> Option<Decode> {
    const Q_DTYPE: DType = DType::BF16;
    let (device, stream) = support::device()?;
    let emulator = device.runtime().emulator()?;
    let blocks_per_seq = SEQ_LEN / BLOCK_SIZE;
    let num_blocks = num_seqs * blocks_per_seq;
    let layout = KvLayout::new(&KvCacheShape {
        num_layers: 1,
        num_blocks,
        block_size: BLOCK_SIZE,
        num_kv_heads: NUM_KV_HEADS,
        head_dim: HEAD_DIM,
        dtype: kv_dtype,
    })
    .unwrap();
    let pool_bytes = layout.pool_bytes(num_blocks).unwrap();
    let pools = [(); 2].map(|()| {
        let mut pool = device.buffer::<u8>(pool_bytes).unwrap();
        pool.fill_bytes(&stream, 0x3c).unwrap();
        pool
    });
    let width = NUM_QO_HEADS * HEAD_DIM;
    let mut q = device.buffer::<u16>(num_seqs * width).unwrap();
    q.fill_bytes(&stream, 0x3c).unwrap();
    let mut out = device.buffer::<u16>(num_seqs * width).unwrap();
    let ones = device.buffer_from(&stream, &[1.0_f32; NUM_KV_HEADS]).unwrap();
    let batch = Batch {
        token_ids: vec![0; num_seqs],
        positions: vec![SEQ_LEN as u32 - 1; num_seqs],
        slot_mapping: vec![-1; num_seqs],
        cu_seqlens_q: (0..=num_seqs as u32).collect(),
        seq_lens: vec![SEQ_LEN as u32; num_seqs],
        block_tables: (0..num_blocks as u32).collect(),
        max_num_blocks: blocks_per_seq,
    };
    let batch = PagedBatch::upload(&device, &stream, &batch).unwrap();
    let inputs = AttentionInputs {
        q: Cols { buffer: &q, first_col: 0, stride: width },
        q_dtype: Q_DTYPE,
        num_qo_heads: NUM_QO_HEADS,
        k_pool: &pools[0],
        v_pool: &pools[1],
        layout: &layout,
        k_scales: &ones,
        v_scales: &ones,
        token_scales: None,
        batch: &batch,
        scale: 0.09,
        window: None,
        soft_cap: None,
        alibi_slopes: None,
        sinks: None,
    };
    let mut attention =
        Attention::paged(&device, Arc::new(Choices::new(&[], Box::new(|_| ())).unwrap()));
    emulator.count(true);
    attention.run(&stream, AttentionOutputs { out: &mut out, lse: None }, &inputs).unwrap();
    stream.synchronize().unwrap();
    emulator.count(false);
    let launches: Vec<Counted> = serde_json::from_str(&emulator.take_reports()).unwrap();
    // The average of equal values.
    let code = if kv_dtype.size_bytes() == 1 { 0x3c } else { 0x3c3c };
    let value = KvDType::from(Q_DTYPE).to_code(kv_dtype.from_code(code)) as u16;
    assert!(out.to_host(&stream).unwrap().iter().all(|&bits| bits == value));

    let misses = |launch: &Counted| launch.memory.l2.load_misses + launch.memory.l2.store_misses;
    let main = &launches[0];
    assert!(main.kernel.starts_with("paged_attention_v5"), "{}", main.kernel);
    let waves = WAVES_PER_CU.min(f64::from(main.resources.waves_per_cu));
    Some(Decode {
        bytes: (launches.iter().map(misses).sum::<u64>() * LINE_BYTES) as f64,
        min_bytes: (2 * pool_bytes + 2 * 2 * num_seqs * width) as f64,
        loads_in_flight_per_cu: waves * main.loads_in_flight.mean_bytes_per_wave_at_waits,
    })
}

#[test]
fn decode_moves_little_more_than_the_cache_and_keeps_enough_loads_under_way() {
    let is_long = env::var_os("KVASIR_LONG").is_some_and(|value| value == "1");
    let num_seqs = if is_long { 64 } else { 2 };
    let Some(bf16) = decode(DType::BF16.into(), num_seqs) else { return };
    let Some(fp8) = decode(KvDType::Fp8(Fp8Format::E4m3Fnuz), num_seqs) else { return };
    for (name, got) in [("bf16", &bf16), ("fp8", &fp8)] {
        let over_fetch = got.bytes / got.min_bytes;
        let in_flight = got.loads_in_flight_per_cu / 1024.0;
        println!("{name}: {over_fetch:.3} of the least bytes, {in_flight:.1} KiB in flight per CU");
        assert!(over_fetch <= 1.05, "{name}: {over_fetch} times the least bytes");
        assert!(in_flight >= 16.0, "{name}: {in_flight} KiB of loads in flight per CU");
    }
    let ratio = fp8.bytes / bf16.bytes;
    println!("fp8 moves {ratio:.3} of bf16's bytes");
    assert!(ratio <= 0.55, "{ratio}");
}
