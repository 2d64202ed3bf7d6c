//! `kv_gather` and `kv_scatter`: every byte goes where the layout says, and comes back.

use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use kernels_hip::kv_layout::KvLayout;
use kernels_hip::ops::{DenseBlocks, KvBlocks, KvPart};

use crate::mutants::code_object;
use crate::{Bits, device};

#[test]
fn blocks_are_dense_on_the_way_and_whole_afterwards() {
    const NUM_BLOCKS: usize = 6;
    let Some((device, stream)) = device() else { return };
    let mut bits = Bits(12);
    let fp8 = KvDType::Fp8(Fp8Format::E4m3Fnuz);
    for (dtype, block_size, num_kv_heads, head_dim) in
        [(fp8, 7, 2, 48), (DType::BF16.into(), 16, 3, 16), (DType::F16.into(), 33, 1, 96)]
    {
        let shape = KvCacheShape {
            num_layers: 1,
            num_blocks: NUM_BLOCKS,
            block_size,
            num_kv_heads,
            head_dim,
            dtype,
        };
        let layout = KvLayout::new(&shape).unwrap();
        let size_bytes = dtype.size_bytes();
        let codes =
            ["kv_gather_v1_naive", "kv_scatter_v1_naive"].map(|name| code_object(&device, name));
        let [gather, scatter] = &codes;
        let op = KvBlocks::from_code_objects(&device, [gather, scatter], size_bytes).unwrap();
        let pool: Vec<u8> =
            (0..layout.pool_bytes(NUM_BLOCKS).unwrap()).map(|_| bits.next() as u8).collect();
        let on_pool = device.buffer_from(&stream, &pool).unwrap();
        let block_bytes = num_kv_heads * block_size * head_dim * size_bytes;
        let at = DenseBlocks { first: 4, stride: block_bytes + 6 };
        let ids = [5, 0, 3, 3];
        for part in [KvPart::K, KvPart::V] {
            let mut dense = device.buffer::<u8>(4 + ids.len() * at.stride).unwrap();
            dense.fill_bytes(&stream, 0x11).unwrap();
            op.gather(&stream, &layout, (&on_pool, part), &ids, (&mut dense, at)).unwrap();
            let got = dense.to_host(&stream).unwrap();
            let mut want = vec![0x11; got.len()];
            for (i, &block) in ids.iter().enumerate() {
                for element in 0..block_bytes / size_bytes {
                    let (head, rest) =
                        (element / (block_size * head_dim), element % (block_size * head_dim));
                    let (slot, d) = (rest / head_dim, rest % head_dim);
                    let offset = match part {
                        KvPart::K => layout.k_offset(slot, d),
                        KvPart::V => layout.v_offset(slot, d),
                    };
                    let from = (layout.head_block(block as usize, head) + offset) * size_bytes;
                    let to = at.first + i * at.stride + element * size_bytes;
                    want[to..to + size_bytes].copy_from_slice(&pool[from..from + size_bytes]);
                }
            }
            assert!(got == want, "{layout:?} {part:?}");
            // Block 2 gets what was 5, and block 4 what was 0, then what was 3.
            let mut other = device.buffer_from(&stream, &pool).unwrap();
            op.scatter(&stream, &layout, (&mut other, part), &[2, 4, 4, 1], (&dense, at)).unwrap();
            let mut back = device.buffer::<u8>(4 + ids.len() * at.stride).unwrap();
            back.fill_bytes(&stream, 0x11).unwrap();
            op.gather(&stream, &layout, (&other, part), &[2, 3, 4, 1], (&mut back, at)).unwrap();
            let mut want = got.clone();
            // 3 was not written to: it is what was gathered third.
            let blocks =
                |i: usize| at.first + i * at.stride..at.first + i * at.stride + block_bytes;
            want.copy_within(blocks(2), blocks(1).start);
            assert!(back.to_host(&stream).unwrap() == want, "{layout:?} {part:?}");
        }
        let mut dense = device.buffer::<u8>(block_bytes).unwrap();
        let at = DenseBlocks { first: 0, stride: block_bytes };
        let mut refused = |ids: &[u32], at| {
            op.gather(&stream, &layout, (&on_pool, KvPart::K), ids, (&mut dense, at)).is_err()
        };
        assert!(!refused(&[0], at));
        assert!(refused(&[NUM_BLOCKS as u32], at), "a block outside");
        assert!(refused(&[0, 1], at), "more than there is room for");
        assert!(refused(&[0], DenseBlocks { stride: block_bytes - size_bytes, ..at }));
        assert!(refused(&[0], DenseBlocks { first: size_bytes, ..at }));
    }
}
