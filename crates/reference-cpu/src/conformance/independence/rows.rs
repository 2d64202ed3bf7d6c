//! Ops that work row by row, in batches of every size.

use engine_core::batch::Batch;
use engine_core::device::OpError;
use engine_core::dtype::DType;
use engine_core::ops::{Cols, HeadNorm, Linear, Ops, Out, RmsNorm, Rope, RopeAngles, SiluMul};

use super::same_bits;
use crate::conformance::Failure;
use crate::conformance::paging::single_rows;
use crate::conformance::rig::HostRows;
use crate::inputs::{Inputs, Rng};

/// Rows that are computed in every way.
const NUM_ROWS: usize = 65;

/// Sizes of the batches; the last one of a round may be smaller.
const BATCH_SIZES: [usize; 5] = [1, 2, 7, 64, 65];

/// A row of NaN and a row of infinities: no company for the others to notice.
const POISONED: [(usize, f32); 2] = [(13, f32::NAN), (40, f32::INFINITY)];

/// `NUM_ROWS` rows of `width` numbers, two of them poisoned.
fn host_rows(rng: &mut Rng, width: usize, dtype: DType) -> Vec<f32> {
    let mut rows = Inputs::Normal.make(rng, NUM_ROWS * width, dtype);
    for (row, poison) in POISONED {
        rows[row * width..(row + 1) * width].fill(poison);
    }
    rows
}

/// The listed rows of `values`, one below the other.
fn gather(values: &[f32], width: usize, rows: &[usize]) -> Vec<f32> {
    let row = |&row: &usize| &values[row * width..(row + 1) * width];
    rows.iter().flat_map(row).copied().collect()
}

/// Runs `compute(backend, rows)`, which returns one row of results for each listed row, on every
/// backend in every batch size, and compares each row with its first results.
fn check<O: Ops>(
    op: &'static str,
    shape: &str,
    backends: &mut [O],
    compute: impl Fn(&mut O, &[usize]) -> Result<Vec<f32>, OpError>,
) -> Result<(), Failure> {
    let mut first: Option<Vec<f32>> = None;
    for (backend_idx, backend) in backends.iter_mut().enumerate() {
        let mut rng = Rng::new(17);
        let mut order: Vec<usize> = (0..NUM_ROWS).collect();
        for batch_size in BATCH_SIZES.into_iter().rev() {
            for batch in order.chunks(batch_size) {
                let case = || format!("{shape}, rows {batch:?} on backend {backend_idx}");
                let got = compute(backend, batch).map_err(|source| Failure::Refused {
                    op,
                    case: case(),
                    source,
                })?;
                let width = got.len() / batch.len();
                // The first batch is all rows in order.
                let first = first.get_or_insert_with(|| got.clone());
                for (got, &row) in got.chunks_exact(width).zip(batch) {
                    same_bits(op, &case, row, got, &first[row * width..(row + 1) * width])?;
                }
            }
            rng.shuffle(&mut order);
        }
    }
    Ok(())
}

fn f32_buffer<O: Ops>(backend: &mut O, data: &[f32]) -> Result<O::Buffer, OpError> {
    let mut buffer = backend.alloc(data.len())?;
    backend.write_f32(data, &mut buffer)?;
    Ok(buffer)
}

fn read_f32<O: Ops>(backend: &mut O, buffer: &O::Buffer, len: usize) -> Result<Vec<f32>, OpError> {
    let mut values = vec![0.0; len];
    backend.read_f32(buffer, &mut values)?;
    Ok(values)
}

fn read_act<O: Ops>(backend: &mut O, buffer: &O::Buffer, len: usize) -> Result<Vec<f32>, OpError> {
    let mut values = vec![0.0; len];
    backend.read_act(buffer, &mut values)?;
    Ok(values)
}

fn upload<O: Ops>(backend: &mut O, batch: &Batch) -> Result<O::Batch, OpError> {
    let mut device_batch = O::Batch::default();
    backend.upload_batch(batch, &mut device_batch)?;
    Ok(device_batch)
}

pub(super) fn embed<O: Ops>(backends: &mut [O]) -> Result<(), Failure> {
    const WIDTH: usize = 577;
    let table = Inputs::Normal.make(&mut Rng::new(1), NUM_ROWS * WIDTH, DType::F32);
    check("embed", "width 577", backends, |backend, rows| {
        let table = HostRows::load(backend, &HostRows::split(&table, WIDTH, 1))?;
        let batch = Batch {
            token_ids: rows.iter().map(|&row| row as u32).collect(),
            ..single_rows(&vec![0; rows.len()])
        };
        let batch = upload(backend, &batch)?;
        let mut out = backend.alloc(rows.len() * WIDTH)?;
        backend.embed(&table, &batch, &mut out)?;
        read_f32(backend, &out, rows.len() * WIDTH)
    })
}

pub(super) fn linear<O: Ops>(backends: &mut [O]) -> Result<(), Failure> {
    for (ins, outs, add_to) in
        [(17, 33, false), (576, 96, true), (577, 65, false), (1536, 40, true)]
    {
        let mut rng = Rng::new(ins as u64);
        let Some(dtype) = backends.first().map(|backend| backend.compute_dtype()) else {
            return Ok(());
        };
        let x = host_rows(&mut rng, ins, dtype);
        let weight = Inputs::Normal.make(&mut rng, outs * ins, dtype);
        let bias = Inputs::Normal.make(&mut rng, outs, DType::F32);
        let before = Inputs::Normal.make(&mut rng, NUM_ROWS * outs, DType::F32);
        check("linear", &format!("{ins} to {outs}"), backends, |backend, rows| {
            let weight = HostRows::load(backend, &HostRows::split(&weight, ins, 1))?;
            let bias = f32_buffer(backend, &bias)?;
            let mut act = backend.alloc_act(rows.len() * ins)?;
            backend.write_act(&gather(&x, ins, rows), &mut act)?;
            let mut out = f32_buffer(backend, &gather(&before, outs, rows))?;
            backend.linear(Linear {
                x: &act,
                weight: &weight,
                bias: Some(&bias),
                num_rows: rows.len(),
                out: if add_to { Out::AddTo(&mut out) } else { Out::Store(&mut out) },
            })?;
            read_f32(backend, &out, rows.len() * outs)
        })?;
    }
    Ok(())
}

pub(super) fn rms_norm<O: Ops>(backends: &mut [O]) -> Result<(), Failure> {
    for width in [17, 576, 577] {
        let mut rng = Rng::new(width as u64);
        let x = host_rows(&mut rng, width, DType::F32);
        let weight = Inputs::Normal.make(&mut rng, width, DType::F32);
        for gather_rows in [false, true] {
            let shape = format!("width {width}, rows listed: {gather_rows}");
            check("rms_norm", &shape, backends, |backend, rows| {
                let listed: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
                let weight = f32_buffer(backend, &weight)?;
                let x = match gather_rows {
                    true => f32_buffer(backend, &x)?,
                    false => f32_buffer(backend, &gather(&x, width, rows))?,
                };
                let mut out = backend.alloc_act(rows.len() * width)?;
                backend.rms_norm(RmsNorm {
                    x: &x,
                    weight: &weight,
                    eps: 1e-5,
                    hidden_size: width,
                    rows: gather_rows.then_some(&listed[..]),
                    num_rows: rows.len(),
                    out: &mut out,
                })?;
                read_act(backend, &out, rows.len() * width)
            })?;
        }
    }
    Ok(())
}

pub(super) fn head_norm<O: Ops>(backends: &mut [O]) -> Result<(), Failure> {
    const NUM_HEADS: usize = 3;
    for head_dim in [64, 96] {
        let mut rng = Rng::new(head_dim as u64);
        let width = NUM_HEADS * head_dim;
        let x = host_rows(&mut rng, width, DType::F32);
        let weight = Inputs::Normal.make(&mut rng, head_dim, DType::F32);
        check("head_norm", &format!("head_dim {head_dim}"), backends, |backend, rows| {
            let weight = f32_buffer(backend, &weight)?;
            let mut x = f32_buffer(backend, &gather(&x, width, rows))?;
            backend.head_norm(HeadNorm {
                x: Cols { buffer: &mut x, first_col: 0, stride: width },
                weight: &weight,
                eps: 1e-6,
                num_rows: rows.len(),
                num_heads: NUM_HEADS,
                head_dim,
            })?;
            read_f32(backend, &x, rows.len() * width)
        })?;
    }
    Ok(())
}

pub(super) fn rope_angles<O: Ops>(backends: &mut [O]) -> Result<(), Failure> {
    for num_freqs in [1, 32, 48] {
        let shape = format!("{num_freqs} frequencies");
        check("rope_angles", &shape, backends, |backend, rows| {
            let positions: Vec<u32> = rows.iter().map(|&row| 997 * row as u32).collect();
            let freqs: Vec<f32> = (1..=num_freqs).map(|i| 1.0 / i as f32).collect();
            let inv_freq = f32_buffer(backend, &freqs)?;
            let batch = upload(backend, &single_rows(&positions))?;
            let len = rows.len() * 2 * num_freqs;
            let mut out = backend.alloc(len)?;
            backend.rope_angles(RopeAngles {
                batch: &batch,
                inv_freq: &inv_freq,
                num_freqs,
                attention_factor: 1.0,
                out: &mut out,
            })?;
            read_f32(backend, &out, len)
        })?;
    }
    Ok(())
}

pub(super) fn rope<O: Ops>(backends: &mut [O]) -> Result<(), Failure> {
    const NUM_HEADS: usize = 3;
    for head_dim in [64, 96] {
        let mut rng = Rng::new(head_dim as u64);
        let width = NUM_HEADS * head_dim;
        let x = host_rows(&mut rng, width, DType::F32);
        let angles = Inputs::Normal.make(&mut rng, NUM_ROWS * head_dim, DType::F32);
        check("rope", &format!("head_dim {head_dim}"), backends, |backend, rows| {
            let angles = f32_buffer(backend, &gather(&angles, head_dim, rows))?;
            let mut x = f32_buffer(backend, &gather(&x, width, rows))?;
            backend.rope(Rope {
                x: Cols { buffer: &mut x, first_col: 0, stride: width },
                angles: &angles,
                num_rows: rows.len(),
                num_heads: NUM_HEADS,
                head_dim,
                rotary_dim: head_dim,
            })?;
            read_f32(backend, &x, rows.len() * width)
        })?;
    }
    Ok(())
}

pub(super) fn silu_mul<O: Ops>(backends: &mut [O]) -> Result<(), Failure> {
    for width in [17, 577] {
        let gate_up = host_rows(&mut Rng::new(width as u64), 2 * width, DType::F32);
        check("silu_mul", &format!("width {width}"), backends, |backend, rows| {
            let gate_up = f32_buffer(backend, &gather(&gate_up, 2 * width, rows))?;
            let mut out = backend.alloc_act(rows.len() * width)?;
            backend.silu_mul(SiluMul {
                gate_up: &gate_up,
                num_rows: rows.len(),
                width,
                out: &mut out,
            })?;
            read_act(backend, &out, rows.len() * width)
        })?;
    }
    Ok(())
}
