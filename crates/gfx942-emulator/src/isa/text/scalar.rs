//! SOP2, SOPK, SOP1, SOPC, SOPP.

use super::super::decode::has_immediate;
use super::super::table::traits::BRANCH;
use super::super::{Format, Inst, Op};
use super::Line;
use super::operand::{operand, small};

pub fn print(inst: &Inst, line: &mut Line) {
    match inst.format {
        Format::Sopk => sopk(inst, line),
        Format::Sopp => sopp(inst, line),
        _ => {
            operands(inst, line);
            if inst.op == Op::s_set_gpr_idx_on {
                line.operand(&gpr_index_mode(inst.offset));
            }
        }
    }
}

fn operands(inst: &Inst, line: &mut Line) {
    let info = inst.op.info();
    if inst.dst.is_some() {
        line.operand(&operand(inst, inst.dst, info.dst));
    }
    for (source, form) in inst.src.iter().zip(info.src) {
        if form.is_some() {
            line.operand(&operand(inst, *source, form));
        }
    }
}

fn sopk(inst: &Inst, line: &mut Line) {
    let immediate = inst.offset as u16;
    match inst.op {
        Op::s_setreg_b32 | Op::s_setreg_imm32_b32 => {
            line.operand(&hardware_register(immediate));
            operands(inst, line);
        }
        Op::s_getreg_b32 => {
            operands(inst, line);
            line.operand(&hardware_register(immediate));
        }
        Op::s_call_b64 | Op::s_cbranch_i_fork => {
            operands(inst, line);
            line.operand(&immediate.to_string());
        }
        _ => {
            operands(inst, line);
            line.operand(&format!("{immediate:#x}"));
        }
    }
}

fn sopp(inst: &Inst, line: &mut Line) {
    let immediate = inst.offset as u16;
    match inst.op {
        Op::s_endpgm => {
            if immediate != 0 {
                line.operand(&immediate.to_string());
            }
        }
        Op::s_waitcnt => wait_counts(immediate, line),
        Op::s_sendmsg | Op::s_sendmsghalt => line.operand(&message(immediate)),
        Op::s_set_gpr_idx_mode => line.operand(&gpr_index_mode(inst.offset)),
        Op::s_nop => line.operand(&small(immediate)),
        op if !has_immediate(op) => {}
        op if op.info().has(BRANCH) => line.operand(&immediate.to_string()),
        _ => line.operand(&small(immediate)),
    }
}

/// Counters at their maximum are not waited for; if none is waited for, all are named.
fn wait_counts(immediate: u16, line: &mut Line) {
    let vmcnt = immediate & 15 | immediate >> 14 << 4;
    let counts = [
        ("vmcnt", vmcnt, 63),
        ("expcnt", immediate >> 4 & 7, 7),
        ("lgkmcnt", immediate >> 8 & 15, 15),
    ];
    let waits_for_none = counts.iter().all(|(_, count, most)| count == most);
    for (name, count, most) in counts {
        line.modifier(waits_for_none || count != most, &format!("{name}({count})"));
    }
}

fn gpr_index_mode(mode: i32) -> String {
    if mode as u16 > 15 {
        return format!("{:#x}", mode as u16);
    }
    let names = ["SRC0", "SRC1", "SRC2", "DST"];
    let on: Vec<&str> = (0..4).filter(|i| mode >> i & 1 != 0).map(|i| names[i]).collect();
    format!("gpr_idx({})", on.join(","))
}

/// `hwreg(NAME, offset, width)`, without the field if it is the whole register.
fn hardware_register(immediate: u16) -> String {
    let (id, offset, width) = (immediate & 63, immediate >> 6 & 31, (immediate >> 11) + 1);
    let name = match id {
        1 => "HW_REG_MODE",
        2 => "HW_REG_STATUS",
        3 => "HW_REG_TRAPSTS",
        4 => "HW_REG_HW_ID",
        5 => "HW_REG_GPR_ALLOC",
        6 => "HW_REG_LDS_ALLOC",
        7 => "HW_REG_IB_STS",
        15 => "HW_REG_SH_MEM_BASES",
        16 => "HW_REG_TBA_LO",
        17 => "HW_REG_TBA_HI",
        18 => "HW_REG_TMA_LO",
        19 => "HW_REG_TMA_HI",
        20 => "HW_REG_XCC_ID",
        21 => "HW_REG_SQ_PERF_SNAPSHOT_DATA",
        22 => "HW_REG_SQ_PERF_SNAPSHOT_DATA1",
        23 => "HW_REG_SQ_PERF_SNAPSHOT_PC_LO",
        24 => "HW_REG_SQ_PERF_SNAPSHOT_PC_HI",
        _ => &id.to_string(),
    };
    match (offset, width) {
        (0, 32) => format!("hwreg({name})"),
        _ => format!("hwreg({name}, {offset}, {width})"),
    }
}

/// `sendmsg(NAME, OPERATION, stream)`, as numbers where there is no name.
fn message(immediate: u16) -> String {
    let (id, operation, stream) = (immediate & 15, immediate >> 4 & 7, immediate >> 8 & 3);
    let name = match id {
        1 => "MSG_INTERRUPT",
        2 => "MSG_GS",
        3 => "MSG_GS_DONE",
        4 => "MSG_SAVEWAVE",
        5 => "MSG_STALL_WAVE_GEN",
        6 => "MSG_HALT_WAVES",
        7 => "MSG_ORDERED_PS_DONE",
        8 => "MSG_EARLY_PRIM_DEALLOC",
        9 => "MSG_GS_ALLOC_REQ",
        10 => "MSG_GET_DOORBELL",
        15 => "MSG_SYSMSG",
        _ => "",
    };
    let geometry = ["GS_OP_NOP", "GS_OP_CUT", "GS_OP_EMIT", "GS_OP_EMIT_CUT"];
    let system = [
        "",
        "SYSMSG_OP_ECC_ERR_INTERRUPT",
        "SYSMSG_OP_REG_RD",
        "SYSMSG_OP_HOST_TRAP_ACK",
        "SYSMSG_OP_TTRACE_PC",
    ];
    let index = usize::from(operation);
    match (id, operation, stream) {
        (3, 0, 0) => format!("sendmsg({name}, GS_OP_NOP)"),
        (2 | 3, 1..=3, _) => format!("sendmsg({name}, {}, {stream})", geometry[index]),
        (15, 1..=4, 0) => format!("sendmsg({name}, {})", system[index]),
        (1 | 4..=10, 0, 0) => format!("sendmsg({name})"),
        _ if immediate & !0x37f == 0 => format!("sendmsg({id}, {operation}, {stream})"),
        _ => immediate.to_string(),
    }
}
