//! The 64 bytes that tell the hardware how to start a kernel (LLVM, "Kernel Descriptor").

use crate::little_endian::{u16_at, u32_at, u64_at};

/// Most SGPRs that can be set before a wave starts.
const MAX_USER_SGPRS: u32 = 16;

/// What the hardware puts into user SGPRs, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UserSgpr {
    /// A buffer resource for scratch memory.
    PrivateSegmentBuffer,
    /// Address of the dispatch packet.
    DispatchPtr,
    /// Address of the queue.
    QueuePtr,
    /// Address of the kernarg segment.
    KernargSegmentPtr,
    /// Number of the dispatch.
    DispatchId,
    /// Where scratch memory lies.
    FlatScratchInit,
    /// Bytes of scratch memory for one lane.
    PrivateSegmentSize,
    /// Dwords of the kernarg segment.
    KernargPreload,
}

/// A field of a 32-bit word.
const fn field(word: u32, low: u32, num_bits: u32) -> u32 {
    word >> low & ((1 << num_bits) - 1)
}

const fn bit(word: u32, at: u32) -> bool {
    word >> at & 1 != 0
}

/// How the hardware starts a kernel. Names are LLVM's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelDescriptor {
    /// LDS that every work-group needs, bytes; launches may add to it.
    pub group_segment_fixed_size: u32,
    /// Scratch memory of a lane, bytes.
    pub private_segment_fixed_size: u32,
    /// Bytes of the kernarg segment; 0 where its author did not say.
    pub kernarg_size: u32,
    /// From the descriptor to the code.
    pub kernel_code_entry_byte_offset: i64,
    /// The first AccVGPR's place among the unified vector registers.
    pub accum_offset: u32,
    /// Whether a work-group's waves may be spread over compute units.
    pub tg_split: bool,
    /// Unified vector registers that are allocated.
    pub num_vgprs: u32,
    /// Scalar registers that are allocated, in the granule of the descriptor.
    pub num_sgprs: u32,
    /// Rounding of f32: 0 nearest even, 1 up, 2 down, 3 toward zero.
    pub float_round_mode_32: u32,
    /// Rounding of f16 and f64.
    pub float_round_mode_16_64: u32,
    /// f32 denormals: bit 0 sources are kept, bit 1 results are kept.
    pub float_denorm_mode_32: u32,
    /// f16 and f64 denormals.
    pub float_denorm_mode_16_64: u32,
    /// Whether a clamp turns NaN into 0.
    pub enable_dx10_clamp: bool,
    /// Whether `min` and `max` quiet signalling NaNs.
    pub enable_ieee_mode: bool,
    /// Whether f16 and FP8 overflows saturate.
    pub fp16_ovfl: bool,
    /// Whether scratch memory is needed.
    pub enable_private_segment: bool,
    /// User SGPRs; the work-group's position follows them.
    pub user_sgpr_count: u32,
    /// Whether the work-group's x, y and z are put into SGPRs.
    pub enable_sgpr_workgroup_id: [bool; 3],
    /// Whether an SGPR tells the wave's place in its work-group.
    pub enable_sgpr_workgroup_info: bool,
    /// Work-item coordinates that v0 holds: 0 x, 1 x and y, 2 all.
    pub enable_vgpr_workitem_id: u32,
    /// Enabled floating-point exceptions (bits 24 to 30 of `compute_pgm_rsrc2`).
    pub exceptions: u32,
    /// What user SGPRs hold.
    pub enable_sgpr: [bool; 7],
    /// Whether the stack's size is not known before.
    pub uses_dynamic_stack: bool,
    /// Dwords of the kernarg segment that are loaded into SGPRs before the wave starts.
    pub kernarg_preload_length: u32,
    /// The first of them, in dwords.
    pub kernarg_preload_offset: u32,
}

impl KernelDescriptor {
    /// Bytes of a descriptor.
    pub const NUM_BYTES: usize = 64;

    /// Reads a descriptor; the error says which field hardware would not accept.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        Words::read(bytes).ok_or("it is shorter than 64 bytes")?.descriptor()
    }

    /// The MODE register that a wave starts with.
    pub fn mode(&self) -> u32 {
        self.float_round_mode_32
            | self.float_round_mode_16_64 << 2
            | self.float_denorm_mode_32 << 4
            | self.float_denorm_mode_16_64 << 6
            | u32::from(self.enable_dx10_clamp) << 8
            | u32::from(self.enable_ieee_mode) << 9
            | field(self.exceptions, 0, 7) << 12
            | u32::from(self.fp16_ovfl) << 23
    }

    /// What the first SGPRs hold: each with its first register and how many.
    pub fn user_sgprs(&self) -> Vec<(UserSgpr, u32, u32)> {
        const ORDER: [(UserSgpr, u32); 7] = [
            (UserSgpr::PrivateSegmentBuffer, 4),
            (UserSgpr::DispatchPtr, 2),
            (UserSgpr::QueuePtr, 2),
            (UserSgpr::KernargSegmentPtr, 2),
            (UserSgpr::DispatchId, 2),
            (UserSgpr::FlatScratchInit, 2),
            (UserSgpr::PrivateSegmentSize, 1),
        ];
        let enabled = ORDER.iter().zip(self.enable_sgpr).filter(|(_, enabled)| *enabled);
        let preload = (UserSgpr::KernargPreload, self.kernarg_preload_length);
        let mut first = 0;
        enabled
            .map(|(sgpr, _)| *sgpr)
            .chain((preload.1 != 0).then_some(preload))
            .map(|(sgpr, count)| {
                let place = (sgpr, first, count);
                first += count;
                place
            })
            .collect()
    }

    /// AccVGPRs that are allocated.
    pub fn num_agprs(&self) -> u32 {
        self.num_vgprs.saturating_sub(self.accum_offset)
    }
}

/// The descriptor's words, before anyone looked into them.
struct Words {
    sizes: [u32; 3],
    entry_offset: u64,
    rsrc1: u32,
    rsrc2: u32,
    rsrc3: u32,
    properties: u32,
    preload: u32,
    reserved_is_zero: bool,
}

impl Words {
    fn read(bytes: &[u8]) -> Option<Self> {
        let reserved = [bytes.get(12..16)?, bytes.get(24..44)?, bytes.get(60..64)?];
        Some(Self {
            sizes: [u32_at(bytes, 0)?, u32_at(bytes, 4)?, u32_at(bytes, 8)?],
            entry_offset: u64_at(bytes, 16)?,
            rsrc1: u32_at(bytes, 48)?,
            rsrc2: u32_at(bytes, 52)?,
            rsrc3: u32_at(bytes, 44)?,
            properties: u16_at(bytes, 56)?.into(),
            preload: u16_at(bytes, 58)?.into(),
            reserved_is_zero: reserved.concat().iter().all(|byte| *byte == 0),
        })
    }

    fn descriptor(&self) -> Result<KernelDescriptor, String> {
        self.check_reserved()?;
        let Self { rsrc1, rsrc2, rsrc3, properties, preload, .. } = *self;
        let descriptor = KernelDescriptor {
            group_segment_fixed_size: self.sizes[0],
            private_segment_fixed_size: self.sizes[1],
            kernarg_size: self.sizes[2],
            kernel_code_entry_byte_offset: self.entry_offset as i64,
            accum_offset: (field(rsrc3, 0, 6) + 1) * 4,
            tg_split: bit(rsrc3, 16),
            num_vgprs: (field(rsrc1, 0, 6) + 1) * 8,
            num_sgprs: (field(rsrc1, 6, 4) / 2 + 1) * 16,
            float_round_mode_32: field(rsrc1, 12, 2),
            float_round_mode_16_64: field(rsrc1, 14, 2),
            float_denorm_mode_32: field(rsrc1, 16, 2),
            float_denorm_mode_16_64: field(rsrc1, 18, 2),
            enable_dx10_clamp: bit(rsrc1, 21),
            enable_ieee_mode: bit(rsrc1, 23),
            fp16_ovfl: bit(rsrc1, 26),
            enable_private_segment: bit(rsrc2, 0),
            user_sgpr_count: field(rsrc2, 1, 5),
            enable_sgpr_workgroup_id: [bit(rsrc2, 7), bit(rsrc2, 8), bit(rsrc2, 9)],
            enable_sgpr_workgroup_info: bit(rsrc2, 10),
            enable_vgpr_workitem_id: field(rsrc2, 11, 2),
            exceptions: field(rsrc2, 24, 7),
            enable_sgpr: std::array::from_fn(|i| bit(properties, i as u32)),
            uses_dynamic_stack: bit(properties, 11),
            kernarg_preload_length: field(preload, 0, 7),
            kernarg_preload_offset: field(preload, 7, 9),
        };
        descriptor.check()?;
        Ok(descriptor)
    }

    /// Bits that must be 0: whoever set one wanted something that this reader does not know.
    fn check_reserved(&self) -> Result<(), String> {
        let words: [(&str, u32, u32); 4] = [
            // priority; priv and debug_mode; bulky and cdbg_user; bits 27 to 31
            ("compute_pgm_rsrc1", self.rsrc1, 0xfb50_0c00),
            // enable_trap_handler; address watch, memory violation, granulated_lds_size; bit 31
            ("compute_pgm_rsrc2", self.rsrc2, 0x80ff_e040),
            ("compute_pgm_rsrc3", self.rsrc3, 0xfffe_ffc0),
            ("kernel_code_properties", self.properties, 0xf780),
        ];
        if !self.reserved_is_zero {
            return Err("reserved bytes are not 0".to_owned());
        }
        match words.iter().find(|(_, word, reserved)| word & reserved != 0) {
            None => Ok(()),
            Some((name, word, reserved)) => {
                Err(format!("{name} is {word:#010x}; bits {:#x} must be 0", word & reserved))
            }
        }
    }
}

impl KernelDescriptor {
    fn check(&self) -> Result<(), String> {
        let used = self.user_sgprs().iter().map(|(_, _, count)| count).sum::<u32>();
        if used > self.user_sgpr_count || self.user_sgpr_count > MAX_USER_SGPRS {
            return Err(format!(
                "user_sgpr_count is {}; {used} are in use and {MAX_USER_SGPRS} exist",
                self.user_sgpr_count
            ));
        }
        if self.enable_vgpr_workitem_id > 2 {
            return Err("enable_vgpr_workitem_id is 3, which is undefined".to_owned());
        }
        Ok(())
    }
}
