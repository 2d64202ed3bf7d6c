//! What each vector and scalar memory operation does with an address, whatever computes it.

use super::atomic::{Atomic, Update};
use crate::isa::Op;

/// Where in a register something narrower than a dword goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Extended to all of it.
    All,
    /// `d16`: the low half.
    Low,
    /// `d16_hi`: the high half.
    High,
}

/// A load: this many bytes of memory per lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Load {
    pub(super) num_bytes: usize,
    pub(super) signed: bool,
    pub(super) part: Part,
}

impl Load {
    pub(super) const fn new(num_bytes: usize) -> Self {
        Self { num_bytes, signed: false, part: Part::All }
    }

    pub(super) const fn signed(num_bytes: usize) -> Self {
        Self { signed: true, ..Self::new(num_bytes) }
    }

    pub(super) const fn to(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// Registers that are written.
    pub(super) const fn num_dwords(self) -> usize {
        self.num_bytes.div_ceil(4)
    }

    /// The register's value for a byte or short `raw`. The other half of a `d16` register becomes 0: MI300X has ECC on
    /// its registers, and then writes whole ones (manual, 9.1.6).
    pub(super) const fn extend(self, raw: u32) -> u32 {
        let shift = 32 - 8 * self.num_bytes as u32;
        let value = if self.signed { ((raw << shift) as i32 >> shift) as u32 } else { raw };
        match self.part {
            Part::All => value,
            Part::Low => value & 0xffff,
            Part::High => value << 16,
        }
    }
}

/// A store: this many bytes per lane, from the register's low or high half on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Store {
    pub(super) num_bytes: usize,
    pub(super) high: bool,
}

impl Store {
    pub(super) const fn new(num_bytes: usize) -> Self {
        Self { num_bytes, high: false }
    }

    pub(super) const fn high(num_bytes: usize) -> Self {
        Self { num_bytes, high: true }
    }

    /// Registers that are read.
    pub(super) const fn num_dwords(self) -> usize {
        self.num_bytes.div_ceil(4)
    }

    /// What of the register is stored.
    pub(super) const fn select(self, value: u32) -> u32 {
        if self.high { value >> 16 } else { value }
    }
}

/// Loads and stores through a buffer's format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Formatted {
    pub(super) num_components: usize,
    /// Components are 16 bits wide in registers: two in each, or one in this part.
    pub(super) d16: Option<Part>,
}

/// What an operation does with the address of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Load(Load),
    Store(Store),
    Atomic(Atomic),
    /// From memory to LDS.
    LoadLds(Load),
    LoadFormat(Formatted),
    StoreFormat(Formatted),
    /// Writes caches back or invalidates them.
    Cache,
}

/// Arms for one load or store in all families of instructions.
macro_rules! families {
    ($op:expr, $($($name:ident)|+ => $action:expr,)+) => {
        match $op {
            $($(Op::$name)|+ => $action,)+
            _ => return None,
        }
    };
}

/// What `op` does; `None` if it is not a vector memory operation.
pub(super) fn action(op: Op) -> Option<Action> {
    if let Some(load) = load(op) {
        return Some(Action::Load(load));
    }
    if let Some(store) = store(op) {
        return Some(Action::Store(store));
    }
    atomic(op).map(Action::Atomic).or_else(|| special(op))
}

fn load(op: Op) -> Option<Load> {
    use Part::{High, Low};
    Some(families!(op,
        global_load_dword | flat_load_dword | scratch_load_dword | buffer_load_dword => Load::new(4),
        global_load_dwordx2 | flat_load_dwordx2 | scratch_load_dwordx2 | buffer_load_dwordx2 => Load::new(8),
        global_load_dwordx3 | flat_load_dwordx3 | scratch_load_dwordx3 | buffer_load_dwordx3 => Load::new(12),
        global_load_dwordx4 | flat_load_dwordx4 | scratch_load_dwordx4 | buffer_load_dwordx4 => Load::new(16),
        global_load_ubyte | flat_load_ubyte | scratch_load_ubyte | buffer_load_ubyte => Load::new(1),
        global_load_sbyte | flat_load_sbyte | scratch_load_sbyte | buffer_load_sbyte => Load::signed(1),
        global_load_ushort | flat_load_ushort | scratch_load_ushort | buffer_load_ushort => Load::new(2),
        global_load_sshort | flat_load_sshort | scratch_load_sshort | buffer_load_sshort => Load::signed(2),
        global_load_ubyte_d16 | flat_load_ubyte_d16 | scratch_load_ubyte_d16 | buffer_load_ubyte_d16
            => Load::new(1).to(Low),
        global_load_ubyte_d16_hi | flat_load_ubyte_d16_hi | scratch_load_ubyte_d16_hi | buffer_load_ubyte_d16_hi
            => Load::new(1).to(High),
        global_load_sbyte_d16 | flat_load_sbyte_d16 | scratch_load_sbyte_d16 | buffer_load_sbyte_d16
            => Load::signed(1).to(Low),
        global_load_sbyte_d16_hi | flat_load_sbyte_d16_hi | scratch_load_sbyte_d16_hi | buffer_load_sbyte_d16_hi
            => Load::signed(1).to(High),
        global_load_short_d16 | flat_load_short_d16 | scratch_load_short_d16 | buffer_load_short_d16
            => Load::new(2).to(Low),
        global_load_short_d16_hi | flat_load_short_d16_hi | scratch_load_short_d16_hi | buffer_load_short_d16_hi
            => Load::new(2).to(High),
    ))
}

fn store(op: Op) -> Option<Store> {
    Some(families!(op,
        global_store_dword | flat_store_dword | scratch_store_dword | buffer_store_dword => Store::new(4),
        global_store_dwordx2 | flat_store_dwordx2 | scratch_store_dwordx2 | buffer_store_dwordx2 => Store::new(8),
        global_store_dwordx3 | flat_store_dwordx3 | scratch_store_dwordx3 | buffer_store_dwordx3 => Store::new(12),
        global_store_dwordx4 | flat_store_dwordx4 | scratch_store_dwordx4 | buffer_store_dwordx4 => Store::new(16),
        global_store_byte | flat_store_byte | scratch_store_byte | buffer_store_byte => Store::new(1),
        global_store_short | flat_store_short | scratch_store_short | buffer_store_short => Store::new(2),
        global_store_byte_d16_hi | flat_store_byte_d16_hi | scratch_store_byte_d16_hi | buffer_store_byte_d16_hi
            => Store::high(1),
        global_store_short_d16_hi | flat_store_short_d16_hi | scratch_store_short_d16_hi | buffer_store_short_d16_hi
            => Store::high(2),
    ))
}

/// An atomic in all families, 32 and 64 bits wide.
macro_rules! atomics {
    ($op:expr, $($($narrow:ident)|+ , $($wide:ident)|+ => $update:ident;)+) => {
        match $op {
            $($(Op::$narrow)|+ => Some(Atomic { update: Update::$update, wide: false }),
            $(Op::$wide)|+ => Some(Atomic { update: Update::$update, wide: true }),)+
            _ => None,
        }
    };
}

/// What the atomic `op` of global, flat, buffer or scalar memory does.
pub(super) fn atomic(op: Op) -> Option<Atomic> {
    atomics!(op,
        global_atomic_swap | flat_atomic_swap | buffer_atomic_swap | s_atomic_swap | s_buffer_atomic_swap,
        global_atomic_swap_x2 | flat_atomic_swap_x2 | buffer_atomic_swap_x2 | s_atomic_swap_x2
            | s_buffer_atomic_swap_x2 => Swap;
        global_atomic_cmpswap | flat_atomic_cmpswap | buffer_atomic_cmpswap | s_atomic_cmpswap
            | s_buffer_atomic_cmpswap,
        global_atomic_cmpswap_x2 | flat_atomic_cmpswap_x2 | buffer_atomic_cmpswap_x2 | s_atomic_cmpswap_x2
            | s_buffer_atomic_cmpswap_x2 => CompareSwap;
        global_atomic_add | flat_atomic_add | buffer_atomic_add | s_atomic_add | s_buffer_atomic_add,
        global_atomic_add_x2 | flat_atomic_add_x2 | buffer_atomic_add_x2 | s_atomic_add_x2 | s_buffer_atomic_add_x2
            => Add;
        global_atomic_sub | flat_atomic_sub | buffer_atomic_sub | s_atomic_sub | s_buffer_atomic_sub,
        global_atomic_sub_x2 | flat_atomic_sub_x2 | buffer_atomic_sub_x2 | s_atomic_sub_x2 | s_buffer_atomic_sub_x2
            => Sub;
        global_atomic_smin | flat_atomic_smin | buffer_atomic_smin | s_atomic_smin | s_buffer_atomic_smin,
        global_atomic_smin_x2 | flat_atomic_smin_x2 | buffer_atomic_smin_x2 | s_atomic_smin_x2
            | s_buffer_atomic_smin_x2 => SignedMin;
        global_atomic_umin | flat_atomic_umin | buffer_atomic_umin | s_atomic_umin | s_buffer_atomic_umin,
        global_atomic_umin_x2 | flat_atomic_umin_x2 | buffer_atomic_umin_x2 | s_atomic_umin_x2
            | s_buffer_atomic_umin_x2 => UnsignedMin;
        global_atomic_smax | flat_atomic_smax | buffer_atomic_smax | s_atomic_smax | s_buffer_atomic_smax,
        global_atomic_smax_x2 | flat_atomic_smax_x2 | buffer_atomic_smax_x2 | s_atomic_smax_x2
            | s_buffer_atomic_smax_x2 => SignedMax;
        global_atomic_umax | flat_atomic_umax | buffer_atomic_umax | s_atomic_umax | s_buffer_atomic_umax,
        global_atomic_umax_x2 | flat_atomic_umax_x2 | buffer_atomic_umax_x2 | s_atomic_umax_x2
            | s_buffer_atomic_umax_x2 => UnsignedMax;
        global_atomic_and | flat_atomic_and | buffer_atomic_and | s_atomic_and | s_buffer_atomic_and,
        global_atomic_and_x2 | flat_atomic_and_x2 | buffer_atomic_and_x2 | s_atomic_and_x2 | s_buffer_atomic_and_x2
            => And;
        global_atomic_or | flat_atomic_or | buffer_atomic_or | s_atomic_or | s_buffer_atomic_or,
        global_atomic_or_x2 | flat_atomic_or_x2 | buffer_atomic_or_x2 | s_atomic_or_x2 | s_buffer_atomic_or_x2 => Or;
        global_atomic_xor | flat_atomic_xor | buffer_atomic_xor | s_atomic_xor | s_buffer_atomic_xor,
        global_atomic_xor_x2 | flat_atomic_xor_x2 | buffer_atomic_xor_x2 | s_atomic_xor_x2 | s_buffer_atomic_xor_x2
            => Xor;
        global_atomic_inc | flat_atomic_inc | buffer_atomic_inc | s_atomic_inc | s_buffer_atomic_inc,
        global_atomic_inc_x2 | flat_atomic_inc_x2 | buffer_atomic_inc_x2 | s_atomic_inc_x2 | s_buffer_atomic_inc_x2
            => Inc;
        global_atomic_dec | flat_atomic_dec | buffer_atomic_dec | s_atomic_dec | s_buffer_atomic_dec,
        global_atomic_dec_x2 | flat_atomic_dec_x2 | buffer_atomic_dec_x2 | s_atomic_dec_x2 | s_buffer_atomic_dec_x2
            => Dec;
        global_atomic_add_f32 | flat_atomic_add_f32 | buffer_atomic_add_f32,
        global_atomic_add_f64 | flat_atomic_add_f64 | buffer_atomic_add_f64 => FloatAdd;
    )
    .or_else(|| unpaired(op))
}

/// Atomics of one width.
fn unpaired(op: Op) -> Option<Atomic> {
    let (update, wide) = families!(op,
        global_atomic_min_f64 | flat_atomic_min_f64 | buffer_atomic_min_f64 => (Update::FloatMin, true),
        global_atomic_max_f64 | flat_atomic_max_f64 | buffer_atomic_max_f64 => (Update::FloatMax, true),
        global_atomic_pk_add_f16 | flat_atomic_pk_add_f16 | buffer_atomic_pk_add_f16 => (Update::PackedAddF16, false),
        global_atomic_pk_add_bf16 | flat_atomic_pk_add_bf16
            => (Update::PackedAddBf16, false),
    );
    Some(Atomic { update, wide })
}

fn special(op: Op) -> Option<Action> {
    use Action::{Cache, LoadFormat, LoadLds, StoreFormat};
    let whole = |num_components| Formatted { num_components, d16: None };
    let half = |num_components, part| Formatted { num_components, d16: Some(part) };
    Some(families!(op,
        global_load_lds_dword | scratch_load_lds_dword => LoadLds(Load::new(4)),
        global_load_lds_ubyte | scratch_load_lds_ubyte => LoadLds(Load::new(1)),
        global_load_lds_sbyte | scratch_load_lds_sbyte => LoadLds(Load::signed(1)),
        global_load_lds_ushort | scratch_load_lds_ushort => LoadLds(Load::new(2)),
        global_load_lds_sshort | scratch_load_lds_sshort => LoadLds(Load::signed(2)),
        buffer_load_format_x | tbuffer_load_format_x => LoadFormat(whole(1)),
        buffer_load_format_xy | tbuffer_load_format_xy => LoadFormat(whole(2)),
        buffer_load_format_xyz | tbuffer_load_format_xyz => LoadFormat(whole(3)),
        buffer_load_format_xyzw | tbuffer_load_format_xyzw => LoadFormat(whole(4)),
        buffer_load_format_d16_x | tbuffer_load_format_d16_x => LoadFormat(half(1, Part::Low)),
        buffer_load_format_d16_xy | tbuffer_load_format_d16_xy => LoadFormat(half(2, Part::Low)),
        buffer_load_format_d16_xyz | tbuffer_load_format_d16_xyz => LoadFormat(half(3, Part::Low)),
        buffer_load_format_d16_xyzw | tbuffer_load_format_d16_xyzw => LoadFormat(half(4, Part::Low)),
        buffer_load_format_d16_hi_x => LoadFormat(half(1, Part::High)),
        buffer_store_format_x | tbuffer_store_format_x => StoreFormat(whole(1)),
        buffer_store_format_xy | tbuffer_store_format_xy => StoreFormat(whole(2)),
        buffer_store_format_xyz | tbuffer_store_format_xyz => StoreFormat(whole(3)),
        buffer_store_format_xyzw | tbuffer_store_format_xyzw => StoreFormat(whole(4)),
        buffer_store_format_d16_x | tbuffer_store_format_d16_x => StoreFormat(half(1, Part::Low)),
        buffer_store_format_d16_xy | tbuffer_store_format_d16_xy => StoreFormat(half(2, Part::Low)),
        buffer_store_format_d16_xyz | tbuffer_store_format_d16_xyz => StoreFormat(half(3, Part::Low)),
        buffer_store_format_d16_xyzw | tbuffer_store_format_d16_xyzw => StoreFormat(half(4, Part::Low)),
        buffer_store_format_d16_hi_x => StoreFormat(half(1, Part::High)),
        buffer_wbl2 | buffer_inv => Cache,
    ))
}
