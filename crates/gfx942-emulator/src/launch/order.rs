//! Whether the order of work-groups can show in a kernel's results.

use std::collections::HashSet;

use code_object::Kernel;

use super::Module;
use crate::isa::{Flags, Inst, Op};

/// Whether `kernel` may have results that depend on the order of its work-groups: it adds floating-point numbers in
/// memory, or reads what an atomic found. Only what the kernel can reach counts, as far as that can be told.
pub(super) fn depends_on_order(module: &Module, kernel: &Kernel) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![module.entry(kernel)];
    while let Some(pc) = open.pop() {
        if !seen.insert(pc) {
            continue;
        }
        // Past the end, or data: an error when a wave gets there.
        let Some(slot) = module.at(pc) else { continue };
        if reveals_order(&slot.inst) {
            return true;
        }
        let next = pc + u64::from(slot.inst.size);
        let target = next.wrapping_add_signed(i64::from(slot.inst.offset as i16) * 4);
        match slot.inst.op {
            Op::s_endpgm => {}
            Op::s_branch => open.push(target),
            // Calls and computed jumps lead anywhere.
            Op::s_setpc_b64 | Op::s_swappc_b64 | Op::s_cbranch_g_fork | Op::s_cbranch_join => {
                return module.slots().any(|slot| reveals_order(&slot.inst));
            }
            op if op.name().starts_with("s_cbranch") || op == Op::s_call_b64 => {
                open.extend([target, next]);
            }
            _ => open.push(next),
        }
    }
    false
}

/// Whether an instruction lets the order of work-groups show.
fn reveals_order(inst: &Inst) -> bool {
    const COMMUTE: [&str; 11] =
        ["add", "sub", "smin", "umin", "smax", "umax", "and", "or", "xor", "min_f64", "max_f64"];
    let Some((_, operation)) = inst.op.name().split_once("_atomic_") else { return false };
    let operation = operation.strip_suffix("_x2").unwrap_or(operation);
    inst.flags.has(Flags::SC0) || !COMMUTE.contains(&operation)
}
